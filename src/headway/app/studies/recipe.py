"""Read a recipe: a TOML file that says what is played, by whom, how often."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from headway.app.studies.choice import Choice, choice, distinct
from headway.core import catalogue
from headway.core.errors import ConfigError, unknown_name
from headway.core.parameters import decode, read_toml

RELATIVE = (("trace", "source"), ("model", "name"), ("shop", "instance"))
"""Settings that may be a file or folder, looked for beside the recipe first."""


class General(Struct, frozen=True, kw_only=True):
    """The keys of a recipe that are the same in every family; all others are those of the family's scenario.

    Parameters
    ----------
    about : str
        One sentence for people.
    family : str
        Whose scenario is played; ``"serving"``.
    policy : str or table
        Who decides, for `headway run`.
    policies : list of str or table
        Who is compared.
    loads : list of float
        Factors on the rate of arrivals, > 0; 1.
    seeds : int or list of int
        How many (0, 1, ...), or which, >= 0; 1.
    plan : table
        What `headway plan` looks for.
    """

    about: str = ""
    family: str = "serving"
    policy: str | dict[str, Any] = ""
    policies: tuple[str | dict[str, Any], ...] = ()
    loads: tuple[float, ...] = (1.0,)
    seeds: int | tuple[int, ...] = 1
    plan: dict[str, Any] = {}


@dataclass(frozen=True)
class Recipe:
    """What a recipe says, checked and with its paths resolved.

    Parameters
    ----------
    path : str
        Of the file, for people.
    family : str
        Whose scenario is played.
    policies : tuple of Choice
        Who plays; the first is the one for a single run and the baseline of a comparison.
    loads : tuple of float
        Factors on the rate of arrivals.
    seeds : tuple of int
        Of the runs.
    setting : dict of str to object
        What the family's scenario is made from, as plain data.
    plan : dict of str to object
        What to look for, as plain data.
    about : str
        One sentence for people.
    """

    path: str
    family: str
    policies: tuple[Choice, ...]
    loads: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    setting: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    about: str = ""

    def __post_init__(self) -> None:
        if not self.loads or not all(load > 0 for load in self.loads):
            raise ConfigError(f"{self.path}: loads must be > 0, got {list(self.loads)}. Try [0.5, 1.0].")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"{self.path}: seeds must be >= 0 and differ, got {list(self.seeds)}. Try 3.")

    @property
    def policy(self) -> Choice:
        """Who plays a single run."""
        if not self.policies:
            raise ConfigError(f'{self.path}: policy must be given, got none. Try policy = "{self.family}/...".')
        return self.policies[0]

    def but(self, **changes: Any) -> Recipe:
        """Return the recipe with some fields changed."""
        return replace(self, **changes)


def read_recipe(path: Path | str) -> Recipe:
    """Read a recipe file.

    Raises
    ------
    ConfigError
        When the file cannot be read, or a key is unknown, of the wrong type or out of range; names the file.
    UnknownName
        When its family or a policy is unknown.
    """
    return recipe_of(read_toml(path), Path(path))


def recipe_of(data: Mapping[str, Any], path: Path) -> Recipe:
    """Make a recipe of what stands in a file; relative paths are looked for beside `path`."""
    where, keys = str(path), {f.name for f in msgspec.structs.fields(General)}
    general = decode(General, {key: value for key, value in data.items() if key in keys}, where=where)
    setting = {key: value for key, value in data.items() if key not in keys}
    check_keys(setting, scenario_class(general.family), where, keys)
    said = [general.policy] if general.policy else []
    others = [policy for policy in general.policies if policy != general.policy]
    return Recipe(
        path=where,
        about=general.about,
        family=general.family,
        policies=distinct([choice(policy, where) for policy in (*said, *others)], where),
        loads=general.loads,
        seeds=tuple(range(general.seeds)) if isinstance(general.seeds, int) else general.seeds,
        setting=_resolved(setting, path.resolve().parent),
        plan=general.plan,
    )


def scenario_class(family: str) -> type[Any]:
    """Return the class of a family's scenario.

    Raises
    ------
    UnknownName, ConfigError
        When there is no such family, or it cannot be played in virtual time.
    """
    found = catalogue.families().get(family)
    if found is None:
        raise unknown_name("family", family, catalogue.families(), "headway list families")
    if not found.scenario:
        raise ConfigError(f"family {family}: must have a scenario to be played, got none. Add `scenario` to its row.")
    cls: type[Any] = catalogue.resolve(found.scenario)
    return cls


def check_keys(setting: Mapping[str, Any], cls: type[Any], where: str, more: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Raise for the first key that nobody knows, in tables within tables too, or number that is none."""
    known = _fields(cls)
    for key, value in setting.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where}: {key} must be a finite number, got {value}. Leave it out for no bound.")
        if key not in known:
            raise ConfigError(str(unknown_name(f"{where}: key", key, {*known, *more})))
        inner = _struct_in(known[key])
        for table in value if isinstance(value, list | tuple) else [value]:
            if inner is not None and isinstance(table, Mapping):
                check_keys(table, inner, f"{where}: [{key}]")


def _fields(cls: type[Any]) -> dict[str, Any]:
    make = cls if issubclass(cls, Struct) else vars(cls).get("__init__", cls)
    names = [name for name in inspect.signature(cls).parameters if name != "self"]
    try:
        hints = get_type_hints(make)
    except NameError:  # an annotation that exists for type checkers only
        hints = {}
    return {name: hints.get(name, Any) for name in names}


def _struct_in(hint: Any) -> type[Struct] | None:
    """Find the table that a type is made of: ``tuple[FleetSpec, ...]`` and ``FleetSpec | None`` are of FleetSpec."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return hint if issubclass(hint, Struct) else None
    if get_origin(hint) in (tuple, list, Union, types.UnionType):
        found = [inner for inner in map(_struct_in, get_args(hint)) if inner is not None]
        return found[0] if len(found) == 1 else None
    return None


def _resolved(setting: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found = dict(setting)
    for table, key in RELATIVE:
        inner = found.get(table)
        if isinstance(inner, Mapping) and isinstance(inner.get(key), str):
            found[table] = {**inner, key: beside(inner[key], folder)}
    trace = found.get("trace")
    if isinstance(trace, Mapping) and isinstance(trace.get("mix"), list):
        parts = [_resolved({"trace": part}, folder)["trace"] for part in trace["mix"]]
        found["trace"] = {**trace, "mix": parts}
    return found


def beside(name: str, folder: Path) -> str:
    """Return the path of a file or folder beside a recipe, or the name itself where it cannot be meant as one."""
    path = folder / Path(name).expanduser()
    looks_like_a_file = "/" in name or name.endswith((".csv", ".jsonl", ".json", ".parquet", ".gz"))
    return str(path) if path.exists() or looks_like_a_file else name
