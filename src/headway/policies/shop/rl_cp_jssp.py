"""A dispatching policy learned inside a constraint model of the job shop."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headway.core.errors import ConfigError
from headway.core.learning import Asking, Question
from headway.core.nouns import Seconds
from headway.numerics import nets
from headway.numerics.nets import NUMPY, NumpyWeights
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop import rl_cp_jssp_net as net
from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell

if TYPE_CHECKING:
    from headway.core.learning import Features
    from headway.policies.shop.rl_cp_jssp_env import Scores, Shops

NAME = "shop/rl-cp-jssp"
SHIPPED = Path(__file__).parent / "weights" / "rl_cp_jssp.npz"
PUBLISHED = SHIPPED.with_name("rl_cp_jssp_published.npz")
AT_ONCE = 16
"""Samples drawn side by side, at most: the network is evaluated for all of them together."""
TASKS_AT_ONCE = 8000
"""Large shops have fewer side by side, so that the first are ready sooner."""
DIGITS = 9
"""Scores that agree in so many are equal, and the first wins: sums differ in the last digits by the size of a batch."""


class RlCpJssp:
    """Builds a schedule by choosing, moment by moment, which jobs start now, and when nothing more should.

    A network scores the jobs whose next operation could start now and the No-Op, which puts all of them off until the
    next moment at which something could start. Earliest starts are propagated over precedence and machines, so that
    what is chosen is feasible. Choices that no active schedule contains are not offered, forced ones are not asked
    about. In the end all operations are moved as early as gaps allow.

    Parameters
    ----------
    weights : str
        An ``.npz`` file as `headway train shop/rl-cp-jssp` writes it; empty for the best that are shipped,
        ``"published"`` for shipped ones that the published loop taught.
    samples : int
        1, the default, takes the best choice each time; of more, all others are drawn by probability and the best
        schedule is kept, >= 1.
    finish : bool
        Whether CP-SAT, with one worker, goes on from there with the rest of the budget; False by default.

    Raises
    ------
    ConfigError
        When `samples` is below 1.

    Notes
    -----
    Source: P. Tassel, M. Gebser, K. Schekotihin, "An End-to-End Reinforcement Learning Approach for Job-Shop Scheduling
    Problems Based on Constraint Programming", ICAPS 2023, arXiv 2306.05747.

    Faithful to the paper: choices and the No-Op, several jobs from one look, what is seen of five operations of a job,
    the network, greedy or sampled use; the way of teaching is what `headway train` runs. Changed: the network also sees
    how much work is left of a job and of a machine (weights of 4 columns do not); positions are counted from the end of
    a job, so that longer jobs look familiar; the No-Op's score is that of the mean over legal jobs; all operations left
    are propagated, not a window of ten. Shipped weights are taught by rollouts alone for 10 minutes of one processor
    (`headway.app.learning.rl_cp_jssp_sampled`), better in equal time than the published loop, which taught
    those called ``"published"`` in 2 minutes.

    Cost: for n operations of j jobs O(n (j + w)), w being what can start before the shortest candidate ends; 100 jobs
    on 20 machines take 0.3 s.

    Examples
    --------
    >>> from headway.policies.shop.making import job_shop
    >>> shop = job_shop("two", [[(0, 3), (1, 2)], [(0, 2), (1, 4)]])
    >>> RlCpJssp().solve(shop, budget_s=1.0, rng=np.random.default_rng(0)).objective
    8
    """

    def __init__(self, *, weights: str = "", samples: int = 1, finish: bool = False) -> None:
        if samples < 1:
            raise ConfigError(f"{NAME}: samples must be >= 1, got {samples}. 1 is the greedy policy.")
        self.weights = weights
        self.samples = samples
        self.finish = finish

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Solve a job shop; see `headway.policies.shop.seats.Solver`.

        Raises
        ------
        ConfigError
            When the problem is no job shop, or the weights are those of another network.
        """
        from headway.policies.shop.rl_cp_jssp_env import GREEDY, SAMPLE, Shops, repeated, tables

        watch = Stopwatch(budget_s)
        best = Incumbent(problem, NAME, watch, tell)
        best.prove(_bound(problem))
        best.offer(start)
        shop = tables([problem])
        self._play(best, Shops(shop), GREEDY, rng, lambda: False)
        at_once = min(AT_ONCE, max(4, TASKS_AT_ONCE // max(problem.num_tasks, 1)))
        for done in range(1, self.samples, at_once):
            if watch.is_over or best.is_proven:
                break
            batch = Shops(repeated(shop, min(at_once, self.samples - done)))
            self._play(best, batch, SAMPLE, rng, lambda: watch.is_over)
        if self.finish and not (watch.is_over or best.is_proven):
            last = CpSat(workers=1).solve(problem, budget_s=watch.left_s, rng=rng, start=best.schedule)
            if last.status == "infeasible":
                return last
            best.offer(last.schedule)
            best.prove(last.bound)
        return best.result()

    def ask(self, problem: Problem) -> Asking[Schedule]:
        """Put each choice as a question: actions are jobs, the last is the No-Op. Returns the schedule.

        Raises
        ------
        ConfigError
            When the problem is no job shop.
        """
        from headway.policies.shop.rl_cp_jssp_env import Shops, schedule_of, tables

        shops = Shops(tables([problem]))
        question = None if shops.over[0] else shops.question()
        while question is not None:
            question = shops.tell(question, (yield question))
        return schedule_of(problem, shops.shifted(0))

    def choose(self, question: Question) -> int:
        """Answer a question as the greedy policy does."""
        scores = self._score({name: array[None] for name, array in question.features.items()})[0]
        return int(np.argmax(np.where(question.legal, np.round(scores, DIGITS), -np.inf)))

    def _play(
        self, best: Incumbent, shops: Shops, mode: int, rng: np.random.Generator, stop: Callable[[], bool]
    ) -> None:
        from headway.policies.shop.rl_cp_jssp_env import schedule_of

        shops.run(self._score, mode=mode, rng=rng, stop=stop)
        if not shops.over.all():
            return
        shifted = [shops.shifted(place) for place in range(len(shops.over))]
        if best.problem.objective == "makespan":
            shifted = [min(shifted, key=lambda starts: int((starts + shops.tables.duration[0]).max()))]
        for starts in shifted:
            best.offer(schedule_of(best.problem, starts))

    def _score(self, features: Features) -> Scores:
        scores: Scores = net.forward(NUMPY, self._network, features)[0]
        return scores

    @functools.cached_property
    def _network(self) -> NumpyWeights:
        path = {"": SHIPPED, "published": PUBLISHED}.get(self.weights) or Path(self.weights)
        columns = 6 if nets.load(path).get("embed.w", np.zeros((6, 0))).shape[0] == 6 else 4
        found = nets.load(path, net.init(np.random.default_rng(0), columns=columns))
        return {name: array.astype(np.float64) for name, array in found.items()}


def _bound(problem: Problem) -> float | None:
    """Return the longest job or the heaviest machine, where the makespan counts."""
    if problem.objective != "makespan":
        return None
    jobs, machines = [0] * len(problem.jobs), [0] * problem.num_resources
    for task in problem.tasks:
        mode = task.modes[0]
        jobs[task.job] += mode.duration
        for machine, _ in mode.needs:
            machines[machine] += mode.duration
    return float(max((*jobs, *machines), default=0))
