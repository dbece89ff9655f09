"""Moore's rule, against all subsets."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from headway.policies.serving.feasible import Job, most_in_time
from headway.policies.serving.state import RequestState
from policies.serving.making import request


def jobs_of(pairs: list[tuple[int, int]]) -> list[Job]:
    return [Job(float(due), float(work), n, RequestState(request(str(n)))) for n, (due, work) in enumerate(pairs)]


def in_time(jobs: tuple[Job, ...]) -> bool:
    end_s = 0.0
    for job in sorted(jobs):
        end_s += job.work_s
        if end_s > job.due_s:
            return False
    return True


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8)), max_size=7))
def test_nobody_keeps_more_in_time_and_all_that_are_taken_are(pairs: list[tuple[int, int]]) -> None:
    jobs = jobs_of(pairs)
    taken, late = most_in_time(jobs, 0.0)
    assert in_time(tuple(taken))
    assert sorted(job.order for job in (*taken, *late)) == list(range(len(jobs)))
    most = max(num for num in range(len(jobs) + 1) if any(in_time(some) for some in combinations(jobs, num)))
    assert len(taken) == most


def test_it_starts_when_told() -> None:
    assert [len(part) for part in most_in_time(jobs_of([(5, 2), (6, 2)]), 2.0)] == [2, 0]
    assert [len(part) for part in most_in_time(jobs_of([(5, 2), (6, 2)]), 2.5)] == [1, 1]
