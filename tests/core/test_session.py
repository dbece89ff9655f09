"""The session: checks, times and counts what a policy says, and survives what it does."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from core.deciding import Replays, Says, raises, ticks
from headway.core.actions import Preempt, Set, Wake
from headway.core.drivers import simulate
from headway.core.errors import IllegalAction, PolicyFailed
from headway.core.events import Event, Refused
from headway.core.report import Report
from headway.core.session import Session, arrival_stream, name_of, policy_stream, truth_stream
from headway.core.slo import WorkAccounts
from headway.core.trace import FileTrace, MemoryTrace, read_trace
from headway.core.view import Board, View


def session(policy: Any, **more: Any) -> Session[Board]:
    return Session(policy, Board([]), **more)


def test_a_policy_is_reset_once_with_the_stream_of_the_run() -> None:
    one, same, other = Says(), Says(), Says()
    session(one, seed=1)
    session(same, seed=1)
    session(other, seed=2)
    assert (one.num_resets, one.draw == same.draw, one.draw == other.draw) == (1, True, False)


def test_arrivals_truth_and_policy_draw_from_different_streams() -> None:
    draws = {int(stream(5).integers(1 << 60)) for stream in (arrival_stream, truth_stream, policy_stream)}
    assert len(draws) == 3


def test_answers_may_be_lazy_and_come_back_in_order() -> None:
    said = [Wake(1.0), Preempt("a"), Set("lr", 0.1)]
    assert session(Says(lambda _: iter(said))).feed(ticks(1)[0]) == said


def test_what_went_through_is_counted() -> None:
    run = session(Says(lambda _: [Wake(1.0), Wake(2.0)]), accounts=WorkAccounts())
    for event in ticks(4):
        run.feed(event)
    run.refuse(Wake(1.0), "too late", 3.0)
    report = run.report()
    assert (report.num_events, report.num_actions, report.num_refused) == (4, 8, 1)
    assert report.refused == {"too late": 1}
    assert report.duration_s == 3.0
    assert (report.policy, report.seed) == ("Says", 0)
    assert 0 < report.decide_s["p50"] <= report.decide_s["max"]


def test_a_refusal_becomes_an_event() -> None:
    refused = session(Says()).refuse(Preempt("a"), "it is not running", 2.0)
    assert refused == Refused(at_s=2.0, action="Preempt", id="a", why="it is not running")


def test_under_strict_a_refusal_is_an_error() -> None:
    with pytest.raises(IllegalAction, match=r"Says: Preempt 'a' refused: it is not running\."):
        session(Says(), strict=True).refuse(Preempt("a"), "it is not running", 2.0)


def lazily_broken(_: Event) -> Any:
    yield Wake(1.0)
    raise ZeroDivisionError("half way")


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (raises(KeyError("w9")), "KeyError: 'w9'"),
        (lazily_broken, "ZeroDivisionError: half way"),
        (lambda _: ["nonsense"], "TypeError: an answer must be an action, got 'nonsense'"),
        (lambda _: None, "TypeError"),
    ],
)
def test_a_policy_that_fails_ends_the_run_with_its_name(answer: Any, what: str) -> None:
    with pytest.raises(PolicyFailed, match=r"Says: failed on Finished at 0\.000000 s: ") as caught:
        session(Says(answer)).feed(ticks(1)[0])
    assert what in str(caught.value)


def test_a_fallback_takes_over_for_good(caplog: pytest.LogCaptureFixture) -> None:
    spare = Says(lambda _: [Wake(9.0)])
    run = session(Says(raises(ValueError("no"))), fallback=spare)
    with caplog.at_level(logging.ERROR):
        assert [run.feed(event) for event in ticks(2)] == [[Wake(9.0)], [Wake(9.0)]]
    assert len(spare.heard) == 2
    assert spare.num_resets == 1
    assert run.report().policy == "Says"
    assert len(caplog.records) == 1
    assert "Says decides from now on" in caplog.text


def test_a_fallback_that_fails_ends_the_run(caplog: pytest.LogCaptureFixture) -> None:
    run = session(Says(raises(ValueError("no"))), fallback=Says(raises(KeyError("nonsense"))))
    with pytest.raises(PolicyFailed, match="nonsense"):
        run.feed(ticks(1)[0])


def test_an_instrument_that_fails_is_removed_and_the_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    class Listens:
        def __init__(self) -> None:
            self.heard: list[Event] = []

        def on_event(self, event: Event) -> None:
            self.heard.append(event)

    class Breaks(Listens):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            raise RuntimeError("deaf")

    first, broken, last = Listens(), Breaks(), Listens()
    run = session(Says(), instruments=[first, broken, last])
    for event in ticks(3):
        run.feed(event)
    assert [len(listener.heard) for listener in (first, broken, last)] == [3, 1, 3]
    assert "Breaks raised and is removed" in caplog.text


def test_instruments_hear_of_an_event_after_it_was_answered() -> None:
    order: list[str] = []

    class Listens:
        def on_event(self, event: Event) -> None:
            order.append("heard")

    def answer(_: Event) -> list[Wake]:
        order.append("answered")
        return []

    session(Says(answer), instruments=[Listens()]).feed(ticks(1)[0])
    assert order == ["answered", "heard"]


def test_the_trace_has_each_event_before_its_answer() -> None:
    trace = MemoryTrace()
    run = session(Says(lambda event: [Wake(event.at_s + 1)]), trace=trace)
    for event in ticks(2):
        run.feed(event)
    assert [type(record).__name__ for record in trace.records] == ["Finished", "Wake", "Finished", "Wake"]
    assert trace.actions == [Wake(1.0), Wake(2.0)]


def test_a_run_that_fails_leaves_its_trace(tmp_path: Any) -> None:
    trace = FileTrace(tmp_path / "run.jsonl")
    world = Replays(ticks(5))
    policy = Says(lambda event: raises(ValueError("no"))(event) if event.at_s == 3.0 else [])
    with pytest.raises(PolicyFailed):
        simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert [record.at_s for record in read_trace(trace.path) if isinstance(record, Event)] == [0.0, 1.0, 2.0, 3.0]


def test_a_policy_is_known_by_its_name_or_its_class() -> None:
    named = Says()
    named.name = "serving/test"  # type: ignore[attr-defined]
    assert (name_of(named), name_of(Says())) == ("serving/test", "Says")


def test_a_report_survives_as_json_even_of_an_empty_run() -> None:
    empty: Report = session(Says()).report()
    again = Report.from_json(empty.to_json())
    assert again.num_events == 0
    assert again.decide_s["p99"] != again.decide_s["p99"]  # nothing was timed: not a number
    run = session(Says(), accounts=WorkAccounts())
    run.feed(ticks(1)[0])
    assert Report.from_json(run.report().to_json()) == run.report()


def test_any_view_will_do() -> None:
    class Bare:
        now_s = 0.0
        resources: dict[str, Any] = {}  # noqa: RUF012

    view: View = Bare()
    assert Session(Says(), view).feed(ticks(1)[0]) == []
