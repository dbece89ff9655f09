"""Requests that wait for each other: chains, forks, joins, and what whole sessions feel."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.actions import Action, Reject
from headway.core.drivers import simulate
from headway.core.events import Event
from headway.core.session import Session
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import RequestArrived
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.log import RequestLog, session_numbers, session_rows
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.table_requests import TableRequests
from headway.sim.serving.world import ServingWorld
from headway.traces.generate.workflows import Stage, Workflows
from headway.traces.spec import TraceSpec
from headway.traces.table import Labels, RequestTable

FORK = (
    Stage(name="plan", prompt_tokens=100, output_tokens=10),
    Stage(name="try", prompt_tokens=200, output_tokens=20, output_cv=1.0, least=3, most=3, parallel=True),
    Stage(name="judge", prompt_tokens=400, output_tokens=5, least=2, most=2, parallel=True),
)


class Watch:
    """Notes when requests arrive and end."""

    hears = (Event,)

    def __init__(self) -> None:
        self.arrived_s: dict[str, float] = {}
        self.deadline_s: dict[str, float | None] = {}
        self.ended_s: dict[str, float] = {}

    def on_event(self, event: Event) -> None:
        if isinstance(event, RequestArrived):
            self.arrived_s[event.work.id] = event.at_s
            self.deadline_s[event.work.id] = event.work.deadline_s
        elif type(event).__name__ == "RequestFinished":
            self.ended_s[event.id] = event.at_s  # type: ignore[attr-defined]


def test_a_stage_waits_for_all_calls_of_the_one_before() -> None:
    spec = TraceSpec(sessions=Workflows(stages=FORK, num_sessions=5), rate_per_s=2.0, due_s=7.0)
    watch = Watch()
    ServingScenario(trace=spec).play(Stack(batch=SarathiServe()), seed=1, instruments=[watch])
    table = spec.draw(1)
    assert len(watch.ended_s) == len(table) == 30
    for first in range(0, 30, 6):
        tries_s = [watch.ended_s[str(row)] for row in range(first + 1, first + 4)]
        assert len(set(tries_s)) > 1
        for row in (first + 4, first + 5):
            assert watch.arrived_s[str(row)] == max(tries_s)
        deadlines = {watch.deadline_s[str(row)] for row in range(first, first + 6)}
        assert deadlines == {watch.arrived_s[str(first)] + 7.0}


def test_a_request_on_its_own_is_no_session_beside_those_that_are() -> None:
    table = RequestTable(
        np.zeros(4),
        np.full(4, 10),
        np.full(4, 2),
        labels={"session": Labels.of(["", "", "", "one"])},
        after=np.array([-1, -1, 1, -1]),
    )
    assert session_rows(table).tolist() == [1, 3]


class NoTries:
    """Turns away the second of three calls made side by side."""

    def reset(self, rng: np.random.Generator) -> None: ...

    def refusal(self, state: RequestState, view: ServingView) -> str | None:
        return "not this one" if int(state.id) % 6 == 2 else None


def test_who_joins_a_call_that_was_turned_away_is_never_sent() -> None:
    spec = TraceSpec(sessions=Workflows(stages=FORK, num_sessions=4), rate_per_s=2.0)
    outcome = ServingScenario(trace=spec).play(Stack(batch=SarathiServe(), admit=NoTries()), seed=0)
    numbers = outcome.report.numbers
    assert numbers["num_finished"] == 4 * 3
    assert numbers["num_rejected"] == 4
    assert numbers["num_unsent"] == 4 * 2
    assert numbers["num_unfinished"] == 0
    assert np.isnan(numbers["mean_jct_s"])
    assert numbers["sessions_in_time_frac"] == 0


class Lazy(Stack):
    """Leaves the second of three calls lying."""

    def decide(self, event: Event, view: ServingView) -> list[Action]:
        held = {name for name in view.unrouted if int(name) % 6 == 2}
        if isinstance(event, RequestArrived) and event.work.id in held:
            return []
        return [action for action in super().decide(event, view) if not isinstance(action, Reject)]


def test_who_joins_a_call_that_was_never_served_is_not_counted_as_left() -> None:
    spec = TraceSpec(sessions=Workflows(stages=FORK, num_sessions=2), rate_per_s=2.0)
    numbers = ServingScenario(trace=spec).play(Lazy(batch=SarathiServe()), seed=0).report.numbers
    assert numbers["num_finished"] == 2 * 3
    assert numbers["num_unfinished"] == 2


def test_sessions_last_from_the_first_arrival_to_the_last_end() -> None:
    table = RequestTable(
        np.array([0.0, 1.0, 1.5]),
        np.full(3, 100),
        np.full(3, 10),
        after=np.array([-1, -1, 0]),
        gap_s=np.array([0.0, 0.0, 2.0]),
        due_s=np.array([100.0, 1e-6, 100.0]),
        labels={"session": Labels.of(["x", "y", "x"])},
    )
    log, watch = RequestLog(), Watch()
    world = ServingWorld(TableRequests(table), [InstanceState("gpu", BlockPool(100), num_layers=2)])

    policy = Stack(batch=SarathiServe())
    simulate(world, policy, session=Session(policy, world.view, instruments=[log, watch]))
    sessions = log.sessions(table)
    assert watch.arrived_s["2"] == pytest.approx(watch.ended_s["0"] + 2.0)
    assert sessions["jct_s"].tolist() == pytest.approx([watch.ended_s["1"] - 1.0, watch.ended_s["2"]])
    numbers = session_numbers(sessions, 2, 10.0)
    assert numbers["sessions_in_time_frac"] == 0.5
    assert numbers["sessions_per_s"] == 0.2
    assert numbers["mean_jct_s"] == pytest.approx(sessions["jct_s"].mean())
    assert numbers["p50_jct_s"] == pytest.approx(np.median(sessions["jct_s"]))
