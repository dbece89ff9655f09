"""List rules: which of the tasks that are ready gets which processing element, until none is left.

Names and meanings are those of simulators of heterogeneous chips; each rule is a function of a draft, the view's jobs
and a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TypeAlias

import numpy as np

from headway.policies.shop.soc_board import JobState, SocDraft

ListRule: TypeAlias = Callable[[SocDraft, np.random.Generator], None]


def earliest_task_first(draft: SocDraft, rng: np.random.Generator) -> None:
    """ETF: of all pairs of a task and an element, always the one that is over first."""
    del rng
    while draft.ready:
        pairs = [(*draft.soonest(state, task), place) for place, (state, task) in enumerate(draft.ready)]
        _, pe, place = min(pairs, key=itemgetter(0))
        draft.give(*draft.ready[place], pe)


def earliest_finish_time(draft: SocDraft, rng: np.random.Generator) -> None:
    """EFT: tasks in the order in which they became ready, each where it is over first."""
    del rng
    for state, task in tuple(draft.ready):
        draft.give(state, task, draft.soonest(state, task)[1])


def minimum_execution_time(draft: SocDraft, rng: np.random.Generator) -> None:
    """MET: tasks in the order in which they became ready, each where it runs fastest, however long it waits there."""
    del rng
    for state, task in tuple(draft.ready):
        draft.give(state, task, _fastest(draft, state, task))


def shortest_task_first(draft: SocDraft, rng: np.random.Generator) -> None:
    """STF: the task that can run in the shortest time first, each where it is over first."""
    del rng
    for state, task in sorted(draft.ready, key=lambda one: one[0].shape.min_s[one[1]]):
        draft.give(state, task, draft.soonest(state, task)[1])


def at_random(draft: SocDraft, rng: np.random.Generator) -> None:
    """Draw the order of tasks, and for each an element on which it can run."""
    ready = tuple(draft.ready)
    for place in rng.permutation(len(ready)):
        state, task = ready[place]
        draft.give(state, task, int(rng.choice(state.shape.able[task])))


RULES: dict[str, ListRule] = {
    "etf": earliest_task_first,
    "eft": earliest_finish_time,
    "met": minimum_execution_time,
    "stf": shortest_task_first,
    "random": at_random,
}
"""By the name that people use."""


def _fastest(draft: SocDraft, state: JobState, task: int) -> int:
    """The element with the shortest time; of equal ones that where the task is over first."""
    times_s = state.shape.times_s[task]
    return min(state.shape.able[task], key=lambda pe: (times_s[pe], draft.finish_s(state, task, pe)))
