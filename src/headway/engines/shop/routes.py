"""Jobs as people write them down: a machine and a duration for each task, or several to choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from headway.core.errors import ConfigError, unknown_name
from headway.core.nouns import Id
from headway.policies.shop.problem import Mode, Task

Step: TypeAlias = tuple[Id, int] | Sequence[tuple[Id, int]]
Route: TypeAlias = Sequence[Step]
"""A (machine, duration) pair for each task of a job, or several of which one is to be chosen."""


def tasks_of(route: Route, numbers: Mapping[Id, int]) -> tuple[Task, ...]:
    """Return the tasks of a route, each after the one before.

    Parameters
    ----------
    route : Route
        For each task, where it can run and for how long.
    numbers : mapping of str to int
        Of the machines.

    Raises
    ------
    ConfigError, UnknownName
        When there is no such machine, or a duration is no whole number >= 0.
    """
    return tuple([_task(place, step, numbers) for place, step in enumerate(route)])


def _task(place: int, step: Any, numbers: Mapping[Id, int]) -> Task:
    modes = []
    for machine, duration in [step] if isinstance(step[0], str) else step:
        if machine not in numbers:
            raise unknown_name("shop: machine", machine, numbers)
        if duration < 0 or int(duration) != duration:
            raise ConfigError(f"shop: durations must be whole numbers >= 0, got {duration}. Count in a finer unit.")
        modes.append(Mode(int(duration), ((numbers[machine], 1),)))
    return Task(tuple(modes), after=(place - 1,) if place else ())
