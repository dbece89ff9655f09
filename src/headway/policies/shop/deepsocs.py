"""DeepSoCS: a graph network chooses which ready task comes next, and it runs where it is over first."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.learning import Asking, Question, answered
from headway.core.nouns import Id
from headway.numerics.nets import NUMPY, NumpyWeights, load
from headway.policies.shop.deepsocs_features import question
from headway.policies.shop.deepsocs_net import first_weights, forward
from headway.policies.shop.soc_board import JobState, SocDraft, SocView

SHIPPED = Path(__file__).parent / "weights" / "deepsocs.npz"


class DeepSocs:
    """Orders tasks by a network that was taught in advance, and places each where it is over first.

    Parameters
    ----------
    weights : str
        Path of an ``.npz`` file of `headway train shop/deepsocs`; empty for the weights that come with Headway.
    max_jobs : int
        How many jobs are looked at together, >= 1; 3, as many as were there in training. Of more jobs those with tasks
        that are ready come first, then the oldest.
    max_tasks : int
        How many tasks a job may have, >= 1; 32. Longer jobs are given tasks in the order in which these become ready.
    hold : bool
        Whether a task that would have to queue at its element waits instead, and is ordered again at the next event;
        True. False gives every task away as soon as it is ready.

    Raises
    ------
    ConfigError
        When a parameter is out of its range, or the weights are for another network.

    Notes
    -----
    Source: Sung, Ha, Kim, Yahja, Sohn, Ryu, "DeepSoCS: A Neural Scheduler for Heterogeneous System-on-Chip (SoC)
    Resource Scheduling", 2020, arXiv 2005.07666.

    Faithful to the paper: a policy orders what is ready, the rule of HEFT (earliest finish) places it; messages from
    children to parents (depth 2, widths 16 and 8), sums over jobs and over everything, scores from widths 32, 16, 8;
    a baseline of returns over time. Internals come from a description of the authors' later code, not of the paper
    itself. Changed: times are divided by the mean task's instead of constants, so that one network serves several
    chips; of eight features three (the age of a job, how uneven its tasks' times are, the earliest end of a ready
    task) are ours; tasks that would queue are held back (`hold`); each set of runs teaches with clipped steps of PPO.
    Questions are asked where at least two tasks would begin. The weights that come with Headway were taught in 480
    processor seconds (seed 0), mostly on the table of HEFT's ten tasks, the rest on made-up radio applications.

    Cost: O(jobs x tasks x tasks) per question, a few tenths of a millisecond.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.soc_world import small_world
    >>> simulate(small_world(seed=0)[0], DeepSocs()).num_refused
    0
    """

    def __init__(self, *, weights: str = "", max_jobs: int = 3, max_tasks: int = 32, hold: bool = True) -> None:
        self.weights = weights
        self.hold = hold
        self.max_jobs = max_jobs
        self.max_tasks = max_tasks
        for name in ("max_jobs", "max_tasks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"shop/deepsocs: {name} must be >= 1, got {getattr(self, name)}. Try the default.")
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Forget which job was chosen last."""
        del rng
        self._last: Id = ""

    def decide(self, event: Event, view: SocView) -> Iterable[Action]:
        """Give every task that is ready to an element, in the order that the network likes best."""
        return answered(self.ask(event, view), self.choose)

    def ask(self, event: Event, view: SocView) -> Asking[Iterable[Action]]:
        """Put the order of the tasks that are ready as questions."""
        del event
        draft = view.draft(self.hold)
        while draft.can_give:
            state, task = yield from self._next(draft, view)
            draft.give(state, task, draft.soonest(state, task)[1])
        return draft.actions

    def choose(self, question: Question) -> int:
        """Return the legal action with the highest score."""
        batch = {name: array[None] for name, array in question.features.items()}
        scores, _ = forward(NUMPY, read_weights(self.weights), batch)
        return int(np.argmax(np.where(question.legal, scores[0], -np.inf)))

    def _next(self, draft: SocDraft, view: SocView) -> Generator[Question, int, tuple[JobState, int]]:
        """Choose among what would really begin; nothing is asked about what will wait, soonest first."""
        open_to = [one for one in draft.ready if draft.is_open(draft.soonest(*one)[1])]
        if not open_to:
            return min(draft.ready, key=lambda one: draft.soonest(*one))
        jobs = self._in_view(view, {state.job.id for state, _ in open_to})
        seen = [one for one in open_to if one[0] in jobs] or open_to[:1]
        state, task = seen[0]
        if len(seen) > 1:
            chosen = yield question(draft, jobs, self._last, view.now_s, self.max_jobs, self.max_tasks)
            state, task = jobs[chosen // self.max_tasks], chosen % self.max_tasks
        self._last = state.job.id
        return state, task

    def _in_view(self, view: SocView, waiting: AbstractSet[Id]) -> list[JobState]:
        able = [state for state in view.jobs.values() if state.shape.num_tasks <= self.max_tasks]
        if len(able) <= self.max_jobs:
            return able
        return sorted(able, key=lambda state: state.job.id not in waiting)[: self.max_jobs]


@functools.lru_cache(maxsize=8)
def read_weights(path: str) -> NumpyWeights:
    """Read weights once; the path is empty for those that come with Headway."""
    return load(Path(path) if path else SHIPPED, first_weights(np.random.default_rng(0)))
