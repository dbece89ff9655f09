from __future__ import annotations

import pytest

from headway.policies.serving.hexgen_replay import Past, Place, Replay, best_place, score, tuned_alpha

TIMES = {("plan", "fast"): 1.0, ("plan", "slow"): 3.0, ("work", "fast"): 2.0, ("work", "slow"): 6.0}


def times(stage: str, pool: str) -> float:
    return TIMES[stage, pool]


def test_the_score_weighs_the_queue_against_the_call() -> None:
    assert score(1.0, 100.0, 2.0, 4.0) == -2.0
    assert score(0.0, 2.0, 5.0, 4.0) == 2.0
    assert score(0.5, 2.0, 5.0, 4.0) == pytest.approx(0.5 * 2.0 - 0.5 * 5.0)
    call_s = {"fast": 1.0, "slow": 3.0}
    assert best_place(1.0, {"fast": 100.0, "slow": 0.0}, call_s) == "fast"
    assert best_place(0.0, {"fast": 100.0, "slow": 50.0}, call_s) == "slow"
    assert best_place(0.5, {"fast": 0.0, "slow": 0.0}, call_s) == "fast"


def test_a_workflow_alone_takes_its_calls_one_after_the_other_and_forks_side_by_side() -> None:
    past = [Past(0.0, 10.0, (("plan", 1), ("work", 2), ("plan", 1)))]
    felt = Replay(past, {"gpu": Place("fast", 2)}, times).play(0.5)
    assert felt == (0.0, 0.4)  # 1 + 2 + 1 of 10 seconds
    assert Replay(past, {"gpu": Place("fast", 1)}, times).play(0.5).p95 == pytest.approx(0.6)


def test_the_most_urgent_starts_first() -> None:
    lax, urgent = Past(0.1, 100.0, (("work", 1),)), Past(0.2, 4.5, (("work", 1),))
    first = Past(0.0, 100.0, (("work", 1),))
    felt = Replay([first, lax, urgent], {"gpu": Place("fast", 1)}, times).play(0.5)
    assert felt.late_frac == 0.0  # it ends after 4 s; behind the other it would have been 6


def test_alpha_is_the_best_of_the_grid() -> None:
    past = [Past(0.3 * number, 20.0, (("work", 1),)) for number in range(40)]
    places = {"fast": Place("fast", 1), "slow": Place("slow", 1)}
    replay = Replay(past, places, times)
    chosen = tuned_alpha(past, places, times)
    felt = {alpha / 10: replay.play(alpha / 10) for alpha in range(11)}
    assert felt[chosen] == min(felt.values())
    assert felt[1.0] > felt[chosen]  # all on the fast one
    assert tuned_alpha(past, places, times, grid=(1.0,)) == 1.0


def test_a_replay_leaves_nothing_behind() -> None:
    past = [Past(0.5 * number, 9.0, (("plan", 1), ("work", 3))) for number in range(20)]
    replay = Replay(past, {"a": Place("fast", 2), "b": Place("slow", 2)}, times)
    assert replay.play(0.3) == replay.play(0.3)
