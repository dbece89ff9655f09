from __future__ import annotations

import pytest

from headway.policies.serving.stage_times import Course, Mean, Query, StageTimes


def test_given_times_are_taken_and_others_learnt() -> None:
    times = StageTimes({"fast": {"revise": 2.0}})
    assert times.of("revise", "fast") == 2.0
    assert times.of("revise", "slow") == 1.0  # nothing is known
    for took_s in (4.0, 6.0):
        times.learn("revise", "slow", took_s)
    times.learn("revise", "fast", 99.0)
    assert times.of("revise", "fast") == 2.0
    assert times.of("revise", "slow") == 5.0
    assert times.average("revise", ["fast", "slow"]) == 3.5


def test_a_stage_that_a_pool_has_not_met_takes_what_it_takes_elsewhere_times_how_slow_the_pool_is() -> None:
    times = StageTimes({})
    for _ in range(200):
        times.learn("plan", "fast", 1.0)
        times.learn("plan", "slow", 3.0)
    times.learn("judge", "fast", 10.0)
    ratio = times.of("judge", "slow") / times.of("judge", "fast")
    assert ratio == pytest.approx(1.5, rel=0.1)  # slow is 1.5 times the mean of both


def test_the_latest_values_count_most() -> None:
    mean = Mean()
    for value in [1.0] * 100 + [5.0] * 200:
        mean.add(value)
    assert mean.value == pytest.approx(5.0, abs=0.1)


def test_nominal_rounds_shrink_as_they_are_done() -> None:
    course = Course(["plan", "revise", "revise", "revise", "judge"])
    assert course.left(["plan"]) == {"revise": 3.0, "judge": 1.0}
    assert course.left(["plan", "revise"]) == {"revise": 2.0, "judge": 1.0}
    assert course.left(["plan", "revise", "judge"]) == {}  # the other revisions will not come
    assert course.left(["plan", *["revise"] * 5]) == {"judge": 1.0}
    assert course.left(["unheard"]) == {"plan": 1.0, "revise": 3.0, "judge": 1.0}


def test_what_is_left_is_learnt_from_whole_workflows() -> None:
    course = Course(())
    assert course.left(["plan"]) == {}
    for revisions in (1, 3):
        course.learn(["plan", *["revise"] * revisions, "judge"])
    assert course.left(["plan"]) == {"revise": 2.0, "judge": 1.0}
    assert course.left(["judge"]) == {}
    course = Course(())
    course.learn(["plan", "judge"])
    course.learn(["plan", "extra", "judge"])
    assert course.left(["plan"]) == {"judge": 1.0, "extra": 0.5}


def test_calls_that_come_together_are_one_round() -> None:
    query = Query(1.0)
    query.call("a", "plan", 1.0)
    query.end("a", 3.0)
    query.call("b", "try", 3.0)
    query.call("c", "try", 3.0)
    query.end("b", 4.0)
    assert query.elapsed_s == 2.0
    query.end("c", 6.0)
    assert query.elapsed_s == 5.0
    query.call("d", "try", 6.0)
    assert query.rounds == [("plan", 1), ("try", 2), ("try", 1)]
