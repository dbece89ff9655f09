"""The cheapest hardware, parallelism and policy that carries a load: the goal ``"cost"``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from headway.app.studies.goal import Goal
from headway.app.studies.job import Job, job_of
from headway.app.studies.options import Option, in_words, options_of
from headway.app.studies.recipe import Recipe
from headway.app.studies.rigs import on_rig
from headway.app.studies.sweep import spread_over
from headway.app.studies.trial import Verdict, try_out

UNITS = {"usd_per_h": "USD/h", "accelerators": "accelerators"}
"""What a ranking counts."""


class Attempt(Struct, frozen=True, kw_only=True):
    """One number of instances that was tried."""

    instances: int
    verdict: Verdict


class Found(Struct, frozen=True, kw_only=True):
    """What became of an option.

    Parameters
    ----------
    option : Option
        Which.
    instances : int or None
        The fewest that carry the load; None when so many were not tried, or too dear.
    attempts : list of Attempt
        All that was tried, in that order.
    why : str
        Why it is left out of the ranking.
    """

    option: Option
    instances: int | None = None
    attempts: list[Attempt] = []
    why: str = ""

    @property
    def price(self) -> float:
        """What it counts in the ranking; infinite when it is left out."""
        return math.inf if self.instances is None else self.instances * self.option.price

    @property
    def verdict(self) -> Verdict | None:
        """What came of the fewest instances that carry the load."""
        return next((attempt.verdict for attempt in self.attempts if attempt.instances == self.instances), None)


class Task(Struct, frozen=True, kw_only=True):
    """The search of one option, as plain data."""

    option: Option
    job: Job
    seeds: tuple[int, ...]
    attain_frac: float
    most: int


@dataclass
class Ranking:
    """The answer to the question.

    Parameters
    ----------
    found : list of Found
        Options that carry the load, the cheapest first.
    left_out : list of Found
        The others, each with the reason.
    """

    found: list[Found] = field(default_factory=list)
    left_out: list[Found] = field(default_factory=list)


OnFound = Callable[[Found], None]
"""Told of every option that is settled."""


def rank(
    recipe: Recipe, goal: Goal, *, num_workers: int = 0, ray_address: str = "", on_found: OnFound | None = None
) -> Ranking:
    """Rank all that a goal allows.

    Options are tried from the one that could be cheapest on; one that could not come close to the best so far is not
    tried. It takes the share of good requests to grow with the number of instances.

    Raises
    ------
    HeadwayError
        When the recipe cannot be played.
    """
    ranking = Ranking()
    options: list[Option] = []
    for option, why in options_of(recipe, goal):
        if why:
            _settle(ranking, Found(option=option, why=why), on_found)
        else:
            options.append(option)
    options.sort(key=lambda option: option.fewest * option.price)
    tasks = _tasks(recipe, goal, options, ranking, on_found)
    for _, found in spread_over(search, tasks, num_workers, ray_address, num=len(options)):
        _settle(ranking, found, on_found)
    return _within(ranking, goal)


def search(task: Task) -> Found:
    """Find the fewest instances of one option that carry the load: from the least possible on, doubling and halving."""
    option = task.option
    attempts: list[Attempt] = []

    def passes(instances: int) -> bool:
        setting = _with_instances(task.job, instances)
        attempts.append(Attempt(instances=instances, verdict=try_out(setting, task.seeds, task.attain_frac)))
        return attempts[-1].verdict.passed

    low, high = option.fewest - 1, option.fewest
    while not passes(high):
        if high >= task.most:
            good = attempts[-1].verdict.good_frac
            why = f"{in_words(high)} cannot carry it ({good:.1%} good at most); more would be too many or too dear"
            return Found(option=option, attempts=attempts, why=why)
        low, high = high, min(2 * high, task.most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return Found(option=option, instances=high, attempts=attempts)


def _tasks(
    recipe: Recipe, goal: Goal, options: list[Option], ranking: Ranking, on_found: OnFound | None
) -> Iterator[Task]:
    """Yield the searches that are still worth it when their turn comes."""
    for option in options:
        best = min((found.price for found in ranking.found), default=math.inf)
        most = _affordable(option, best * (1 + goal.within_frac), goal.max_instances)
        if most < option.fewest:
            why = f"too dear, were {in_words(option.fewest)} enough: there is one at {best:.3g} {UNITS[goal.rank]}"
            _settle(ranking, Found(option=option, why=why), on_found)
            continue
        job = job_of(recipe, option.policy, load=goal.load)
        job = msgspec.structs.replace(job, setting=on_rig(recipe, option.rig, option.fewest))
        yield Task(option=option, job=job, seeds=recipe.seeds, attain_frac=goal.attain_frac, most=most)


def _affordable(option: Option, most_price: float, max_instances: int) -> int:
    """Return how many instances cost no more than the most that is of interest."""
    if math.isinf(most_price) or option.price <= 0:
        return max_instances
    return min(max_instances, math.floor(most_price / option.price + 1e-9))


def _within(ranking: Ranking, goal: Goal) -> Ranking:
    """Sort what was found, and leave out what came to be too dear: it was settled before the best was known."""
    found = sorted(ranking.found, key=lambda one: (one.price, -(one.verdict.good_frac if one.verdict else 0.0)))
    most_price = found[0].price * (1 + goal.within_frac) + 1e-9 if found else 0.0
    dear = [
        msgspec.structs.replace(one, why=f"carried by {in_words(one.instances or 0)}, but too dear")
        for one in found
        if one.price > most_price
    ]
    return Ranking([one for one in found if one.price <= most_price], ranking.left_out + dear)


def _with_instances(job: Job, instances: int) -> Job:
    fleet = {**job.setting["fleet"][0], "instances": instances}
    return msgspec.structs.replace(job, setting={**job.setting, "fleet": [fleet]})


def _settle(ranking: Ranking, found: Found, on_found: OnFound | None) -> None:
    (ranking.left_out if found.instances is None else ranking.found).append(found)
    if on_found is not None:
        on_found(found)
