"""The catalogue: one row per mechanism drives lazy import, listing, documentation and tests.

Each family of `headway.policies` has a ``catalogue.toml`` with a ``[family]`` table and one ``[[mechanism]]`` table
per row. Others add rows from their own packages: an entry point of the group ``headway.policies`` names a package
that has a ``catalogue.toml`` of the same shape.
"""

from __future__ import annotations

import functools
import importlib
import tomllib
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal

import msgspec

from headway.core.errors import ConfigError, unknown_name
from headway.core.parameters import decode

GROUP = "headway.policies"
"""Entry-point group of packages that bring rows of their own."""


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A family of mechanisms.

    Parameters
    ----------
    name : str
        For example ``"serving"``.
    about : str
        What it decides, in one sentence.
    world : str
        ``"module:function"`` of (seed) -> (world, accounts): a small world in virtual time for contract checks.
    lying : str
        ``"module:function"`` of (seed) -> world: the small world of that seed in which something hidden is otherwise.
    wrap : str
        ``"module:function"`` of (seat, part, name) -> policy: how a single seat becomes a whole policy. Empty when
        all rows are policies.
    scenario: str
        ``"module:Class"`` of its `Scenario`, whose constructor takes what a recipe says of the setting. Empty when the
        family has none yet.
    bound : str
        ``"module:function"`` of (scenario, seed, load, uses) -> an object with `good_frac`: the largest share of works
        that any policy could serve as promised. Empty when nobody knows.
    """

    name: str
    about: str
    world: str = ""
    lying: str = ""
    wrap: str = ""
    scenario: str = ""
    bound: str = ""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mechanism.

    Parameters
    ----------
    id : str
        ``"family/name"``; the name is also that of its file.
    cls : str
        ``"module:Class"``; spelled ``class`` in the file.
    seat : str
        The seat it takes, or ``"policy"`` when it is a whole policy.
    title, authors : str
        Of the publication.
    year : int
        Of the publication.
    arxiv : str
        Its arXiv id; empty when it has none.
    level : str
        ``"draft"`` (passes the contract), ``"faithful"`` (checked line by line against its specification) or
        ``"reproduced"`` (its headline comparison is a golden test).
    needs : tuple of str
        What it needs an executor to be able to do.
    tags : tuple of str
        Facts that steer the contract checks, for example ``"preempts"`` or ``"randomised"``.
    claims : str
        ``"module:NAME"`` of what its publication claims, for `headway reproduce`; empty when nobody wrote it down.
    train : str
        ``"module:function"`` of how it is taught, for `headway train`; empty when it does not learn in advance.
    world, lying : str
        Its own small worlds for contract checks, where those of its family do not fit; see `Family`.
    """

    id: str
    cls: str = msgspec.field(name="class")
    seat: str
    title: str
    authors: str
    year: int
    arxiv: str = ""
    level: Literal["draft", "faithful", "reproduced"] = "draft"
    needs: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    claims: str = ""
    train: str = ""
    world: str = ""
    lying: str = ""

    @property
    def family(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: Family
    mechanism: tuple[Row, ...] = ()


def families() -> dict[str, Family]:
    """All families, by name."""
    return {name: family for name, (family, _) in _catalogue().items()}


def rows(family: str = "") -> list[Row]:
    """All rows, or those of one family, in the order of their files."""
    if family and family not in _catalogue():
        raise unknown_name("family", family, _catalogue(), "headway list families")
    return [row for name, (_, found) in _catalogue().items() if family in ("", name) for row in found]


def find(id: str) -> Row:
    """Return the row of a mechanism.

    Raises
    ------
    UnknownName
        When no row has this id; names the nearest three.
    """
    for row in rows():
        if row.id == id:
            return row
    raise unknown_name("policy", id, (row.id for row in rows()), "headway list")


def load(id: str) -> type[Any]:
    """Import and return the class of a mechanism; nothing else of its family is imported."""
    found = resolve(find(id).cls)
    if not isinstance(found, type):
        raise ConfigError(f"catalogue: class of {id} must name a class, got {found!r}. Mend its row.")
    return found


def build(id: str, params: Mapping[str, Any] | None = None) -> Any:
    """Make a mechanism from its parameters; a single seat comes wrapped as a whole policy.

    Parameters
    ----------
    id : str
        Of the row.
    params : mapping of str to object
        Constructor arguments as they stand in a TOML file or on a command line.

    Raises
    ------
    UnknownName
        When no row has this id.
    ConfigError
        When a parameter is unknown, of the wrong type or out of range.
    """
    row = find(id)
    part = decode(load(id), params or {}, where=id)
    if row.seat == "policy":
        return part
    wrap = families()[row.family].wrap
    if not wrap:
        raise ConfigError(f"catalogue: family {row.family} must say how to wrap a seat, got none. Add `wrap`.")
    return resolve(wrap)(row.seat, part, id)


def needs(id: str, params: Mapping[str, Any] | None = None) -> frozenset[str]:
    """Return what a mechanism needs an executor to be able to do, and those that its parameters name.

    Raises
    ------
    UnknownName
        When no row has this id.
    """
    return frozenset(need for one in (id, *_named(params or {})) for need in find(one).needs)


def resolve(path: str) -> Any:
    """Import what ``"module:name"`` says."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a module does when it is imported, a syntax error included
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"catalogue: {path!r} must name something to import, got {what}.") from error


def forget() -> None:
    """Read the files again at the next question; for tools that write rows."""
    _catalogue.cache_clear()


def _named(params: Any) -> list[str]:
    """Find the mechanisms that parameters name."""
    if isinstance(params, Mapping):
        return [found for value in params.values() for found in _named(value)]
    known = {row.id for row in rows()}
    return [params] if isinstance(params, str) and params in known else []


@functools.cache
def _catalogue() -> dict[str, tuple[Family, tuple[Row, ...]]]:
    found: dict[str, tuple[Family, tuple[Row, ...]]] = {}
    for folder in _folders():
        file = folder / "catalogue.toml"
        if not file.is_file():
            continue
        content = _read(file)
        family, earlier = found.get(content.family.name, (content.family, ()))
        found[content.family.name] = (family, earlier + content.mechanism)
    return found


def _folders() -> list[Traversable]:
    ours = files("headway.policies")
    folders = sorted((f for f in ours.iterdir() if f.is_dir()), key=lambda folder: folder.name)
    return folders + [files(point.value) for point in entry_points(group=GROUP)]


def _read(file: Traversable) -> _File:
    try:
        content = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: must be a catalogue ([family] and [[mechanism]] tables), got: {error}.") from error
    for row in content.mechanism:
        if row.family != content.family.name:
            raise ConfigError(f"{file}: ids must start with {content.family.name!r}, got {row.id!r}.")
    return content
