"""Which problem somebody means: a file, one of a collection, or one that comes with Headway."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.policies.shop.problem import Objective, Problem
from headway.sim.shop.instances import read

SHIPPED = Path(__file__).parents[2] / "sim" / "shop" / "instances" / "shipped"


def shipped() -> list[str]:
    """Return the names of the instances that come with Headway."""
    return sorted(path.name for path in SHIPPED.iterdir() if path.is_file()) if SHIPPED.is_dir() else []


def given(said: str, *, objective: str = "", blocking: bool = False, swap: bool = True) -> Problem:
    """Read the problem that somebody names.

    Parameters
    ----------
    said : str
        A path, ``path:name`` for one of a collection, or a name of `shipped`.
    objective : str
        Instead of the file's; empty for the file's.
    blocking, swap : bool
        See `Problem`.

    Raises
    ------
    ConfigError
        When there is no such file, it cannot be read, or it holds several and none is named.
    """
    known = get_args(Objective)
    if objective and objective not in known:
        raise ConfigError(f"solve: --objective must be one of {', '.join(known)}, got {objective!r}.")
    problem = _read(said)
    changes: dict[str, object] = {"blocking": blocking, "swap": swap} if blocking else {}
    if objective and objective != problem.objective:
        changes |= {"objective": objective, "best_known": None, "bound": None}
    if blocking:
        changes |= {"best_known": None, "bound": None}
    return replace(problem, **changes)


def _read(said: str) -> Problem:
    path, name = _place(said)
    found = read(path, name)
    if isinstance(found, Problem):
        return found
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.name for one in found[:5])
    raise ConfigError(
        f"solve: {said} must name one problem, it holds {len(found)}: {names}, ... Say {said}:{found[0].name}."
    )


def _place(said: str) -> tuple[Path, str]:
    """Return the file and, within it, the name."""
    head, _, name = said.rpartition(":")
    for path, inner in ((Path(said), ""), (SHIPPED / said, ""), (Path(head), name), (SHIPPED / head, name)):
        if path.is_file() and (head or not inner):
            return path, inner
    raise ConfigError(f"solve: {said} must be a file or one of {', '.join(shipped())}, found neither. Check the path.")
