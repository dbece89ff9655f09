"""Which prompts can still be in time, if they are computed one after the other.

Moore, "An n job, one machine sequencing algorithm for minimizing the number of late jobs", Management Science 1968:
take jobs by their due dates, and whenever one would be late drop the longest of those taken so far. No other choice has
fewer late jobs.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from headway.core.nouns import Seconds
from headway.policies.serving.state import RequestState


class Job(NamedTuple):
    """A prompt to be computed.

    Parameters
    ----------
    due_s : float
        When its first token is due, in seconds since the start of the run.
    work_s : float
        How long its computation takes, in seconds, >= 0.
    order : int
        Breaks ties: who came first.
    state : RequestState
        The request.
    """

    due_s: Seconds
    work_s: Seconds
    order: int
    state: RequestState


def most_in_time(jobs: Sequence[Job], start_s: Seconds) -> tuple[list[Job], list[Job]]:
    """Split jobs into as many as can be in time, by due date, and the others, by order.

    Parameters
    ----------
    jobs : sequence of Job
        In any order.
    start_s : float
        When the first can begin, in seconds since the start of the run.

    Examples
    --------
    >>> from headway.policies.serving.nouns import Request
    >>> def job(name, due_s, work_s, order):
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=1, max_tokens=1)
    ...     return Job(due_s, work_s, order, RequestState(request))
    >>> taken, late = most_in_time([job("a", 3.0, 2.0, 0), job("b", 4.0, 3.0, 1), job("c", 5.0, 2.0, 2)], 0.0)
    >>> [one.state.id for one in taken], [one.state.id for one in late]
    (['a', 'c'], ['b'])
    """
    taken: list[tuple[Seconds, int, Job]] = []  # the longest first
    dropped: list[Job] = []
    end_s = start_s
    for job in sorted(jobs):
        heapq.heappush(taken, (-job.work_s, job.order, job))
        end_s += job.work_s
        if end_s > job.due_s:
            longest = heapq.heappop(taken)[2]
            end_s -= longest.work_s
            dropped.append(longest)
    return sorted(entry[2] for entry in taken), sorted(dropped, key=lambda job: job.order)
