"""How much each policy carries: the goal ``"load"``."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from headway.app.studies.capacity import Capacity, Point, largest_load
from headway.app.studies.goal import Goal, players
from headway.app.studies.job import Job, job_of
from headway.app.studies.pool import num_cores
from headway.app.studies.recipe import Recipe
from headway.app.studies.sweep import spread_over
from headway.app.studies.trial import try_out

OnPoint = Callable[[str, Point], None]
"""Told of every load that was tried, with the name of the policy."""


class Search(Struct, frozen=True, kw_only=True):
    """The search of one policy, as plain data."""

    job: Job
    seeds: tuple[int, ...]
    goal: Goal


def searches(recipe: Recipe, goal: Goal) -> list[Search]:
    """Return one search per policy."""
    load = recipe.loads[0]
    return [
        Search(job=job_of(recipe, policy, load=load), seeds=recipe.seeds, goal=goal) for policy in players(recipe, goal)
    ]


def look(search: Search, on_point: OnPoint | None = None) -> Capacity:
    """Find the largest load of one policy."""
    job, goal = search.job, search.goal

    def tell(point: Point) -> None:
        if on_point is not None:
            on_point(job.policy.label, point)

    return largest_load(
        lambda load: try_out(msgspec.structs.replace(job, load=load), search.seeds, goal.attain_frac),
        start=job.load,
        max_load=goal.max_load,
        tolerance_frac=goal.tolerance_frac,
        on_point=tell,
    )


def look_all(
    todo: list[Search], *, num_workers: int = 0, ray_address: str = "", on_point: OnPoint | None = None
) -> list[Capacity]:
    """Find the largest load of every policy, in their order; points are told as they come, or with their search."""
    found: dict[int, Capacity] = {}
    num_workers = num_workers or num_cores()  # a search is long enough to be worth a process
    if not ray_address and (len(todo) == 1 or num_workers == 1):
        return [look(search, on_point) for search in todo]
    for place, capacity in spread_over(look, todo, num_workers, ray_address, num=len(todo)):
        found[place] = capacity
        if on_point is not None:
            for point in capacity.points:
                on_point(todo[place].job.policy.label, point)
    return [found[place] for place in range(len(todo))]
