"""What senders felt, held against what they were promised."""

from __future__ import annotations

import pytest

from headway.core.events import Failed, Finished
from headway.core.nouns import Slo
from headway.core.slo import SloClass
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished

FAST = SloClass(name="fast", slos=(Slo("ttft_s", 0.5), Slo("tpot_s", 0.1)))


def arrived(id: str, **more: float | str) -> RequestArrived:
    work = Request(id=id, arrival_s=1.0, prompt_tokens=5, max_tokens=5, **{"slo_class": "fast", **more})  # type: ignore[arg-type]
    return RequestArrived(at_s=1.0, work=work)


def finished(id: str, ttft_s: float = 0.1, tpot_s: float = 0.05, reason: str = "stop") -> RequestFinished:
    return RequestFinished(
        at_s=2.0, id=id, reason=reason, output_tokens=5, queue_s=0.01, ttft_s=ttft_s, tpot_s=tpot_s, e2e_s=1.0
    )


def fared(
    *events: RequestArrived | RequestFinished | Failed | Finished,
) -> tuple[RequestAccounts, list[tuple[int, int]]]:
    accounts = RequestAccounts([FAST])
    for event in events:
        accounts.on_event(event)
    return accounts, [(row.met, row.missed) for row in accounts.ledger.rows()]


def test_each_objective_of_the_class_is_counted() -> None:
    accounts, rows = fared(arrived("a"), arrived("b"), finished("a"), finished("b", ttft_s=0.6))
    assert rows == [(1, 1), (2, 0)]
    numbers = accounts.ledger.numbers()
    assert numbers["goodput_frac"] == 0.5
    assert numbers["mean_ttft_s"] == pytest.approx(0.35)
    assert numbers["mean_queue_s"] == pytest.approx(0.01)
    assert {"p99_tpot_s", "p50_e2e_s"} <= set(numbers)


def test_a_request_s_own_objective_stands_in_for_that_of_its_class() -> None:
    accounts, rows = fared(arrived("a", ttft_s=0.9), finished("a", ttft_s=0.6))
    assert rows == [(0, 0), (1, 0)]
    assert accounts.ledger.num_good == 1


def test_a_deadline_is_an_objective() -> None:
    accounts, _ = fared(arrived("a", deadline_s=1.5), arrived("b", deadline_s=9.0), finished("a"), finished("b"))
    assert (accounts.ledger.num_good, accounts.ledger.num_seen) == (1, 2)


def test_cancelled_requests_are_not_counted() -> None:
    accounts, rows = fared(arrived("a"), finished("a", ttft_s=9.0, reason="cancelled"))
    assert rows == [(0, 0), (0, 0)]
    assert accounts.ledger.num_seen == 0
    assert accounts.num_open == 0


def test_one_turned_away_missed_everything_and_has_no_times() -> None:
    accounts, rows = fared(arrived("a"), arrived("b", ttft_s=0.1), Failed(at_s=1.0, id="a", why="full"))
    assert rows == [(0, 1), (0, 1)]
    accounts.on_event(Failed(at_s=1.0, id="b", why="full"))
    assert [row.missed for row in accounts.ledger.rows()] == [1, 2]
    assert accounts.ledger.numbers() == {"goodput_frac": 0.0}


def test_a_class_without_promises_only_keeps_times() -> None:
    accounts, rows = fared(arrived("a", slo_class="unnamed"), finished("a", ttft_s=99.0))
    assert rows == [(0, 0), (0, 0)]
    assert accounts.ledger.numbers()["goodput_frac"] == 1.0


def test_news_of_strangers_is_ignored_and_memory_is_bounded() -> None:
    accounts = RequestAccounts([FAST], max_open=3)
    accounts.on_event(finished("nobody"))
    accounts.on_event(Finished(at_s=0.0, id="nobody"))
    for number in range(10):
        accounts.on_event(arrived(f"r{number}"))
    assert accounts.num_open == 3
    accounts.on_event(finished("r0"))
    assert accounts.ledger.num_seen == 0
    accounts.on_event(finished("r9"))
    assert accounts.ledger.num_seen == 1
