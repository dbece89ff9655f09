"""What DeepSoCS sees of a chip: eight numbers for each task of the jobs in view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headway.core.learning import Question
from headway.core.nouns import Id, Seconds
from headway.policies.shop.deepsocs_net import NUM_FEATURES
from headway.policies.shop.soc_board import JobState, SocDraft

IDLE, SAME_JOB, NUM_PES, WORK, TASK, SOONEST, AGE, SKEW = range(NUM_FEATURES)
"""Share of elements with nothing to do; whether its job was chosen last; share of elements that its job has now; work
left of its job; its mean time; when it is over at the earliest (0 unless ready); for how long its job is there; its
shortest time over its mean time. Times are in multiples of the mean time of all tasks in view."""


def question(
    draft: SocDraft, jobs: Sequence[JobState], last: Id, now_s: Seconds, max_jobs: int, max_tasks: int
) -> Question:
    """Ask which of the tasks that are ready comes next.

    Parameters
    ----------
    draft : SocDraft
        What was decided so far.
    jobs : sequence of JobState
        Those in view, at most `max_jobs` of at most `max_tasks` tasks.
    last : str
        The job chosen last.
    now_s : float
        The present.
    max_jobs, max_tasks : int
        The shape of the arrays.
    """
    nodes = np.zeros((max_jobs, max_tasks, NUM_FEATURES), np.float32)
    children = np.zeros((max_jobs, max_tasks, max_tasks), np.float32)
    alive = np.zeros((max_jobs, max_tasks), np.float32)
    legal = np.zeros((max_jobs, max_tasks), np.bool_)
    unit_s = _unit_s(jobs)
    busy = [pe for pe, free_s in enumerate(draft.free_s) if free_s > now_s]
    for place, state in enumerate(jobs):
        num = state.shape.num_tasks
        alive[place, :num] = np.isnan(state.end_s)
        children[place, :num, :num] = state.shape.to_children
        _fill(nodes[place, :num], state, now_s, unit_s, len(draft.free_s))
        nodes[place, :num, SAME_JOB] = 1.0 if state.job.id == last else -1.0
    nodes[..., IDLE] = 1.0 - len(busy) / len(draft.free_s)
    places = {state.job.id: place for place, state in enumerate(jobs)}
    for state, task in draft.ready:
        if state.job.id in places:
            place, (soonest_s, pe) = places[state.job.id], draft.soonest(state, task)
            legal[place, task] = draft.is_open(pe)
            nodes[place, task, SOONEST] = (soonest_s - now_s) / unit_s
    nodes *= alive[..., None]
    return Question({"nodes": nodes, "children": children, "alive": alive}, legal.reshape(-1))


def _fill(nodes: npt.NDArray[np.float32], state: JobState, now_s: Seconds, unit_s: Seconds, num_pes: int) -> None:
    """Enter what does not depend on the draft."""
    left = [n for n, end_s in enumerate(state.end_s) if end_s != end_s]  # NaN: not over
    mean_s = np.array(state.shape.mean_s)
    nodes[:, NUM_PES] = len({state.pe[n] for n in left if state.pe[n] >= 0}) / num_pes
    nodes[:, WORK] = sum(state.shape.mean_s[n] for n in left) / unit_s / 10.0
    nodes[:, TASK] = mean_s / unit_s
    nodes[:, AGE] = (now_s - state.job.arrival_s) / unit_s / 10.0
    nodes[:, SKEW] = np.array(state.shape.min_s) / mean_s


def _unit_s(jobs: Sequence[JobState]) -> Seconds:
    times = [sum(state.shape.mean_s) / state.shape.num_tasks for state in jobs]
    return sum(times) / len(times)
