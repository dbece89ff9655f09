"""Which problem somebody means: a file, one of a collection, or one that comes with Headway."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.policies.shop.problem import Objective, Problem
from headway.sim.shop.instances.door import read_one
from headway.sim.shop.instances.shipped import shipped


def given(said: str, *, objective: str = "", blocking: bool = False, swap: bool = True) -> Problem:
    """Read the problem that somebody names.

    Parameters
    ----------
    said : str
        A path, ``path:name`` for one of a collection, or the name of one that is shipped.
    objective : str
        Instead of the file's; empty for the file's.
    blocking, swap : bool
        See `Problem`.

    Raises
    ------
    ConfigError, UnknownName
        When there is no such file, it cannot be read, or it holds several and none is named.
    """
    known = get_args(Objective)
    if objective and objective not in known:
        raise ConfigError(f"solve: --objective must be one of {', '.join(known)}, got {objective!r}.")
    problem = read_one(_place(said))
    changes: dict[str, Any] = {"objective": objective} if objective and objective != problem.objective else {}
    if "tardiness" in objective and all(job.due is None for job in problem.jobs):
        raise ConfigError(
            f"solve: --objective {objective} must have due times, {problem.name} has none. Choose another."
        )
    if blocking:
        if problem.chains is None:
            raise ConfigError(
                f"solve: --blocking must have jobs whose tasks follow each other, {problem.name} is a {problem.kind}. "
                "Leave it out."
            )
        changes |= {"blocking": True, "swap": swap}
    if changes:  # what is known of the file's problem is not known of this one
        changes |= {"best_known": None, "bound": None}
    return replace(problem, **changes)


def _place(said: str) -> str:
    if said in shipped() and not Path(said).exists():
        return str(shipped()[said])
    if "/" not in said and "." not in said and not Path(said).exists():
        raise ConfigError(
            f"solve: {said} must be a file or one of {', '.join(shipped())}, found neither. Check the path."
        )
    return said
