"""Which policy plays, with which parameters, under which name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from headway.core import catalogue
from headway.core.errors import ConfigError


class Choice(Struct, frozen=True, kw_only=True):
    """A policy as a recipe names it.

    Parameters
    ----------
    id : str
        Of its row in the catalogue.
    params : dict of str to object
        What its constructor is given; the rest are its defaults.
    name : str
        What it is called in tables; its id, with its parameters where two would be called the same, by default.
    """

    id: str
    params: dict[str, Any] = {}
    name: str = ""

    @property
    def label(self) -> str:
        """What it is called in tables."""
        return self.name or self.id

    def build(self) -> Any:
        """Make the policy."""
        return catalogue.build(self.id, self.params)

    def accepts(self, parameter: str) -> bool:
        """Whether the policy has a parameter of this name."""
        return parameter in inspect.signature(catalogue.load(self.id)).parameters

    def given(self, params: Mapping[str, Any]) -> Choice:
        """Return the same policy with some parameters set otherwise."""
        return Choice(id=self.id, params={**self.params, **params}, name=self.name)


def choice(said: str | Mapping[str, Any], where: str) -> Choice:
    """Read a policy as it stands in a recipe: an id, or a table of id, parameters and perhaps a name.

    Raises
    ------
    ConfigError, UnknownName
        When there is no such policy, or it cannot be made so.
    """
    if isinstance(said, str):
        return _built(Choice(id=said))
    params = {key: value for key, value in said.items() if key not in ("id", "name")}
    if not isinstance(said.get("id"), str):
        raise ConfigError(f'{where}: a policy must have an id, got {dict(said)!r}. Try {{ id = "serving/vllm" }}.')
    return _built(Choice(id=said["id"], params=params, name=str(said.get("name", ""))))


def distinct(choices: Sequence[Choice], where: str) -> tuple[Choice, ...]:
    """Return the policies with names that tell them apart.

    Raises
    ------
    ConfigError
        When two are the same in everything.
    """
    labels = [c.label for c in choices]
    named = [c if labels.count(c.label) == 1 or c.name else _spelled(c) for c in choices]
    seen: set[str] = set()
    for found in named:
        if found.label in seen:
            raise ConfigError(f"{where}: policies must differ in name, got {found.label!r} twice. Give one a `name`.")
        seen.add(found.label)
    return tuple(named)


def _built(found: Choice) -> Choice:
    found.build()  # a wrong parameter is better told before the first run than in the middle
    return found


def _spelled(found: Choice) -> Choice:
    params = ", ".join(f"{key}={value}" for key, value in found.params.items())
    return Choice(id=found.id, params=found.params, name=f"{found.id} ({params})" if params else found.id)
