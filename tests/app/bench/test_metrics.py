from __future__ import annotations

import pytest

from headway.app.bench.answer import Answer
from headway.app.bench.metrics import attainment, errors_by_kind, measure
from headway.app.bench.objectives import SloMix, parse_bounds, parse_mix
from headway.app.bench.openloop import Run
from headway.core.errors import ConfigError


def answer(name: str, ttft_s: float, gaps_s: list[float], sent_s: float = 0.0, **more: object) -> Answer:
    made = Answer(id=name, planned_s=sent_s, sent_s=sent_s, error="", status=200, answer_id=name, num_finishes=1)
    made.first_s = sent_s + ttft_s
    made.itls_s = gaps_s
    made.last_s = made.first_s + sum(gaps_s)
    made.input_tokens, made.output_tokens = 10, 1 + len(gaps_s)
    for key, value in more.items():
        setattr(made, key, value)
    return made


def run(*answers: Answer, duration_s: float = 10.0, num_sent: int | None = None) -> Run:
    return Run(answers=list(answers), duration_s=duration_s, num_sent=len(answers) if num_sent is None else num_sent)


TWO = (answer("a", 0.1, [0.2, 0.4]), answer("b", 0.3, [0.1], sent_s=5.0))


def test_every_number_by_hand() -> None:
    got = measure(run(*TWO), percentiles=(50.0, 99.0, 99.9))
    assert (got["completed"], got["failed"], got["sent"], got["lost"], got["duplicated"]) == (2, 0, 2, 0, 0)
    assert (got["total_input_tokens"], got["total_output_tokens"]) == (20, 5)
    assert (got["request_throughput"], got["output_throughput"], got["total_token_throughput"]) == (0.2, 0.5, 2.5)
    assert got["mean_ttft_ms"] == pytest.approx(200)
    assert got["median_ttft_ms"] == pytest.approx(200)
    assert got["std_ttft_ms"] == pytest.approx(100)
    assert got["p99_ttft_ms"] == pytest.approx(298)
    assert got["p99.9_ttft_ms"] == pytest.approx(299.8)
    assert got["mean_tpot_ms"] == pytest.approx((300 + 100) / 2)
    assert got["mean_itl_ms"] == pytest.approx(700 / 3)
    assert got["p50_itl_ms"] == pytest.approx(200)
    assert got["mean_e2el_ms"] == pytest.approx((700 + 400) / 2)
    assert got["max_concurrent_requests"] == 1
    assert got["max_output_tokens_per_s"] == 3
    assert got["request_goodput"] is None


def test_goodput_counts_requests_within_all_bounds() -> None:
    assert measure(run(*TWO), goodput_ms={"ttft": 200})["request_goodput"] == 0.1
    assert measure(run(*TWO), goodput_ms={"ttft": 300, "tpot": 300.01, "e2el": 700.01})["request_goodput"] == 0.2
    assert measure(run(*TWO), goodput_ms={"ttft": 300, "tpot": 90})["request_goodput"] == 0.0


def test_one_token_has_no_time_per_token_but_can_be_good() -> None:
    got = measure(run(answer("a", 0.1, [])), goodput_ms={"tpot": 1})
    assert got["mean_tpot_ms"] is None
    assert got["request_goodput"] == 0.1


def test_failed_requests_are_counted_and_not_measured() -> None:
    got = measure(run(*TWO, answer("c", 9.0, [9.0], error="HTTP 503: busy")))
    assert (got["completed"], got["failed"]) == (2, 1)
    assert got["mean_ttft_ms"] == pytest.approx(200)
    assert errors_by_kind([*TWO, answer("c", 1, [], error="x"), answer("d", 1, [], error="x")]) == {"x": 2}


def test_nothing_completed_gives_no_numbers_rather_than_zeros() -> None:
    got = measure(run(answer("c", 1.0, [], error="no")))
    assert got["mean_ttft_ms"] is None
    assert got["p99_e2el_ms"] is None
    assert got["request_throughput"] == 0.0


def test_lost_requests_show() -> None:
    assert measure(run(*TWO, num_sent=3))["lost"] == 1
    assert measure(run(*TWO, Answer(id="c", planned_s=0.0)))["lost"] == 1


def test_duplicates_show() -> None:
    again = answer("c", 0.1, [0.1], answer_id="a")
    assert measure(run(*TWO, again))["duplicated"] == 1
    assert measure(run(*TWO, answer("d", 0.1, [0.1], num_finishes=2)))["duplicated"] == 1


def test_a_server_that_never_tells_answers_apart_is_not_accused() -> None:
    same = [answer(name, 0.1, [0.1], answer_id="x") for name in "abc"]
    assert measure(run(*same))["duplicated"] == 0


def test_concurrency_is_counted_at_its_peak() -> None:
    three = [answer(str(n), 1.0, [1.0], sent_s=float(n)) for n in range(3)]
    assert measure(run(*three))["max_concurrent_requests"] == 2


def test_attainment_counts_failures_as_missed() -> None:
    mix = parse_mix(["fast=0.5:ttft=200,tpot=400", "slow"])
    good, late = answer("a", 0.1, [0.2], slo_class="fast"), answer("b", 0.3, [0.2], slo_class="fast")
    failed, other = answer("c", 0.1, [0.2], slo_class="fast", error="x"), answer("d", 9.0, [9.0], slo_class="slow")
    fast, slow = attainment([good, late, failed, other], mix)
    assert fast["met_frac"] == {"ttft": pytest.approx(1 / 3), "tpot": pytest.approx(2 / 3)}
    assert fast["attained_frac"] == pytest.approx(1 / 3)
    assert (fast["sent"], fast["completed"]) == (3, 2)
    assert (slow["met_frac"], slow["attained_frac"]) == ({}, 1.0)


def test_bounds_and_mixes_are_read() -> None:
    assert parse_bounds("--goodput", ["ttft:500 tpot:50", "e2el:9,"]) == {"ttft": 500, "tpot": 50, "e2el": 9}
    mix = parse_mix(["interactive=0.7:ttft=500,tpot=50", "batch=0.3"])
    assert mix == SloMix(
        shares={"interactive": 0.7, "batch": 0.3},
        bounds_ms={"interactive": {"ttft": 500, "tpot": 50}, "batch": {}},
    )


@pytest.mark.parametrize("word", ["itl:3", "ttft", "ttft:-1", "ttft:soon"])
def test_wrong_bounds_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="--goodput"):
        parse_bounds("--goodput", [word])


@pytest.mark.parametrize("word", ["=0.5", "a=0", "a=x", "a=1:foo=3"])
def test_wrong_mixes_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="--slo-class"):
        parse_mix([word])
