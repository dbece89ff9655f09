"""Tabu search in job shops, from one good schedule to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.generate import generate
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.rules import rule
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell
from headway.policies.shop.tabu_elites import Elites
from headway.policies.shop.tabu_model import Model, check_shop, model_of
from headway.policies.shop.tabu_run import Runs

NEIGHBOURHOODS = {"n5": 5, "n6": 6, "n7": 7}


class Tabu:
    """Moves one critical task at a time, never back for a while, and starts anew between the best that it has found.

    For job shops with the objective makespan; with releases, what is under way, and downtimes. Downtimes that lie ahead
    are left out of the search and put back into each schedule that it finds.
    In a flexible shop each task stays on the machine that the first schedule has chosen.

    Parameters
    ----------
    neighbourhood : str
        ``"n5"``: swaps of neighbours at the rims of critical blocks. ``"n6"``, the default: moves of a task to a rim of
        its block. ``"n7"``: from the rims inwards, too. The larger find more with a move, and take longer for it.
    patience : int
        Moves without a new best after which a run ends, >= 1; 12500, that of Peng et al.
    num_elites : int
        How many schedules it keeps to begin between, >= 2; 8.
    max_moves : int
        Moves after which it ends, budget or not, >= 0; 0, the default, for tasks ** 5 / 2000: a moment for
        50 tasks, ten minutes for 225.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: E. Nowicki, C. Smutnicki, "A fast taboo search algorithm for the job shop problem", 1996 (N5); E. Balas, A.
    Vazacopoulos, "Guided local search with shifting bottleneck for job shop scheduling", 1998 (N6, when a move is safe,
    and what it is worth); C. Zhang, P. Li, Z. Guan, Y. Rao, "A tabu search algorithm with a new neighborhood structure
    for the job shop scheduling problem", 2007 (N7, how long a move stays forbidden); C. Zhang, P. Li, Y. Rao, Z. Guan,
    "A very fast TS/SA algorithm for the job shop scheduling problem", 2008; B. Peng, Z. Lü, T. C. E. Cheng, "A tabu
    search/path relinking algorithm to solve the job shop scheduling problem", 2015 (runs between elites).

    Faithful to the papers: neighbourhoods, estimates, aspiration, tenures of 10 + jobs / machines to 1.4 or 1.5 times
    that, a random move where all are forbidden. Changed: a move is safe when no path can lead into a circle by the
    tails less the duration of the successor, which allows a few more; orders of pairs are forbidden, not whole
    sequences; new starts lie between two elites by their mean places.

    Cost: a move takes O(tasks); for 300 tasks 700 000 (N5), 500 000 (N6) or 400 000 (N7) a second, compiled.

    Examples
    --------
    >>> from headway.policies.shop.making import job_shop
    >>> shop = job_shop("two", [[(0, 3), (1, 2)], [(0, 2), (1, 4)]])
    >>> Tabu().solve(shop, budget_s=1.0, rng=np.random.default_rng(0)).objective
    8
    """

    def __init__(
        self,
        *,
        neighbourhood: Literal["n5", "n6", "n7"] = "n6",
        patience: int = 12_500,
        num_elites: int = 8,
        max_moves: int = 0,
    ) -> None:
        self.neighbourhood = neighbourhood
        self.patience = patience
        self.num_elites = num_elites
        self.max_moves = max_moves
        if neighbourhood not in NEIGHBOURHOODS:
            raise ConfigError(f"shop/tabu: neighbourhood must be n5, n6 or n7, got {neighbourhood!r}. Try n6.")
        for name, least, usual in (("patience", 1, 12_500), ("num_elites", 2, 8), ("max_moves", 0, 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"shop/tabu: {name} must be >= {least}, got {getattr(self, name)}. Try {usual}.")

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Search from a start, or from a schedule by rules; see `Solver`."""
        watch = Stopwatch(budget_s)
        check_shop(problem, "shop/tabu")
        best = Incumbent(problem, "shop/tabu", watch, tell)
        first = _first(best, start, watch)
        model = model_of(problem, first.modes)
        best.prove(model.bound)
        if model.num_tasks and not watch.is_over and not best.is_proven:
            self._search(model, best, model.line(first), rng, watch)
        return best.result()

    def _search(
        self, model: Model, best: Incumbent, line: Sequence[int], rng: np.random.Generator, watch: Stopwatch
    ) -> None:
        max_moves = self.max_moves or max(model.num_tasks**5 // 2000, 100)
        runs = Runs(model, NEIGHBOURHOODS[self.neighbourhood], rng, watch, max_moves)
        elites = Elites(model.machine[:-1], self.num_elites, rng)
        while True:
            cost, found = runs.run(line, self.patience, lambda better: best.offer(model.schedule(better)))
            best.offer(model.schedule(found))
            if watch.is_over or best.is_proven or runs.left <= 0:
                return
            elites.add(cost, found)
            line = elites.between() if elites.is_full else random_line(model, rng)


def _first(best: Incumbent, start: Schedule | None, watch: Stopwatch) -> Schedule:
    """Offer the start, or schedules by rules; returns one to begin from."""
    if best.offer(start) and best.schedule is not None:
        return best.schedule
    for name in ("mwkr", "fdd/mwkr", "mopnr"):
        for non_delay in (True, False):
            found = generate(best.problem, rule(name), non_delay=non_delay)
            best.offer(found)
            if watch.is_over:  # large shops: the first is what there is time for
                return best.schedule or found
    return best.schedule or found


def random_line(model: Model, rng: np.random.Generator) -> list[int]:
    """Return all tasks in a random order that respects jobs."""
    job_of = np.array([model.problem.tasks[task].job for task in model.tasks])
    following = {int(job): int(np.flatnonzero(job_of == job)[0]) for job in np.unique(job_of)}
    line = []
    for job in rng.permutation(job_of):
        line.append(following[int(job)])
        following[int(job)] += 1
    return line
