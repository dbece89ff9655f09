"""A dispatching policy learned inside a constraint model of the job shop."""

from __future__ import annotations

import functools
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
from headway.policies.shop.problem import Problem
from headway.policies.shop.result import Progress, Result
from headway.policies.shop.schedule import Schedule, faults, objective
from headway.policies.shop.seats import Tell

if TYPE_CHECKING:
    from headway.core.learning import Features
    from headway.policies.shop.rl_cp_jssp_env import Scores, Shops

NAME = "shop/rl-cp-jssp"
SHIPPED = Path(__file__).parent / "weights" / "rl_cp_jssp.npz"
AT_ONCE = 16
"""Samples drawn side by side: the network is evaluated for all of them together."""
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
        An ``.npz`` file as `headway train shop/rl-cp-jssp` writes it; empty for those shipped.
    samples : int
        1, the default, takes the best choice each time; of more, all others are drawn by probability and the best
        schedule is kept, >= 1.
    finish : bool
        Whether CP-SAT, with one worker, goes on from there with the rest of the budget; False by default.

    Source: P. Tassel, M. Gebser, K. Schekotihin, "An End-to-End Reinforcement Learning Approach for Job-Shop Scheduling
    Problems Based on Constraint Programming", ICAPS 2023, arXiv 2306.05747. Differences: the network also sees how much
    work is left of a job and of a machine (weights of 4 columns do not); positions are counted from the end of a job, so
    that longer jobs look familiar; the No-Op's score is read off the mean over legal jobs. Shipped weights are taught by
    rollouts alone (`headway.app.learning.rl_cp_jssp_sampled`): with equal time they came out better than the published
    loop, which `headway train` runs.
    Cost: for n operations of j jobs O(n (j + w)), w being what can start before the shortest candidate ends.
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

        found = _Found(problem, Stopwatch(budget_s), tell)
        if start is not None:
            found.offer(start)
        shop = tables([problem])
        self._play(found, Shops(shop), GREEDY, rng)
        many = repeated(shop, AT_ONCE)
        left = self.samples - 1
        while left > 0 and not found.is_over:
            batch = many if left >= AT_ONCE else repeated(shop, left)
            self._play(found, Shops(batch), SAMPLE, rng)
            left -= AT_ONCE
        if self.finish and not found.is_over:
            return found.result(CpSat(workers=1).solve(problem, budget_s=found.watch.left_s, rng=rng, start=found.best))
        return found.result()

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

    def _play(self, found: _Found, shops: Shops, mode: int, rng: np.random.Generator) -> None:
        from headway.policies.shop.rl_cp_jssp_env import schedule_of

        is_first = found.best is None
        shops.run(self._score, mode=mode, rng=rng, stop=None if is_first else lambda: found.is_over)
        if shops.over.all():
            shifted = [shops.shifted(place) for place in range(len(shops.over))]
            if found.problem.objective == "makespan":
                shifted = [min(shifted, key=lambda starts: int((starts + shops.tables.duration[0]).max()))]
            for starts in shifted:
                found.offer(schedule_of(found.problem, starts))

    def _score(self, features: Features) -> Scores:
        scores: Scores = net.forward(NUMPY, self._network, features)[0]
        return scores

    @functools.cached_property
    def _network(self) -> NumpyWeights:
        path = Path(self.weights) if self.weights else SHIPPED
        columns = 6 if nets.load(path).get("embed.w", np.zeros((6, 0))).shape[0] == 6 else 4
        found = nets.load(path, net.init(np.random.default_rng(0), columns=columns))
        return {name: array.astype(np.float64) for name, array in found.items()}


class _Found:
    """The best schedule so far, and who is told of it."""

    def __init__(self, problem: Problem, watch: Stopwatch, tell: Tell | None) -> None:
        self.problem, self.watch = problem, watch
        self.best: Schedule | None = None
        self._tell = tell
        self._cost = np.inf
        self._bound = _bound(problem)
        self._history: tuple[Progress, ...] = ()
        self._has_deadlines = any(job.deadline is not None for job in problem.jobs)

    @property
    def is_over(self) -> bool:
        """Whether the time is, or nothing better can come."""
        return self.watch.is_over or (self._bound is not None and self._cost <= self._bound)

    def offer(self, schedule: Schedule) -> None:
        """Keep a schedule if it is the best so far and nothing is wrong with it."""
        cost = objective(self.problem, schedule)
        if cost >= self._cost or (self._has_deadlines and faults(self.problem, schedule)):
            return
        self.best, self._cost = schedule, cost
        news = Progress(self.watch.spent_s, cost, self._bound, schedule)
        self._history = (*self._history, news)
        if self._tell is not None:
            self._tell(news)

    def result(self, finished: Result | None = None) -> Result:
        """Return what was found, by CP-SAT in the end if it went on."""
        if finished is not None and finished.schedule is not None:
            self.offer(finished.schedule)
        bound = finished.bound if finished is not None and finished.bound is not None else self._bound
        is_proven = self.best is not None and bound is not None and self._cost <= bound
        if finished is not None and finished.status == "infeasible":
            return finished
        return Result(
            solver=NAME,
            status="unknown" if self.best is None else "optimal" if is_proven else "feasible",
            schedule=self.best,
            objective=None if self.best is None else float(self._cost),
            bound=bound,
            took_s=self.watch.spent_s,
            history=self._history,
        )


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
