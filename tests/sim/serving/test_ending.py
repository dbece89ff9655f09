"""When a run in virtual time is over: not before the last request, and not after it."""

from __future__ import annotations

from collections.abc import Iterator

from headway.core.actions import Action, Wake
from headway.core.drivers import simulate
from headway.core.events import Changed, Event, Woke
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, RequestFinished, StepDone
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.outages import Outage
from headway.sim.serving.truth import Ends
from headway.sim.serving.world import MAX_IDLE_WAKES, ServingWorld
from sim.serving.test_world import SECOND, Scripted, start, step, true


def instances(*names: str) -> list[InstanceState]:
    return [InstanceState(name, BlockPool(64), 4) for name in names]


def test_nobody_waits_for_an_instance_to_come_back_when_all_is_done() -> None:
    outage = Outage(instance="b", at_s=1.5, lasts_s=1000.0)
    world = ServingWorld([true("x"), true("y")], instances("a", "b"), SECOND, outages=[outage])
    report = simulate(world, Stack(batch=SarathiServe()))
    assert (world.num_left, report.duration_s) == (0, 4.0)


def test_an_outage_of_what_is_away_already_changes_nothing() -> None:
    outages = [Outage(instance="a", at_s=at_s, lasts_s=3.0) for at_s in (0.5, 1.0, 9.0)]
    world = ServingWorld([true("x", output=1)], instances("a"), SECOND, outages=outages)
    policy, trace = Stack(batch=SarathiServe()), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    changes = [(record.at_s, record.up) for record in trace.records if isinstance(record, Changed)]
    assert changes == [(0.5, False), (3.5, True)]
    assert [record.at_s for record in trace.records if isinstance(record, RequestFinished)] == [4.5]


def test_a_failure_comes_before_a_step_that_ends_at_the_same_instant() -> None:
    world = ServingWorld(
        [true("x", output=1)], instances("a"), SECOND, outages=[Outage(instance="a", at_s=1.0, lasts_s=3.0)]
    )
    policy, trace = Stack(batch=SarathiServe()), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert [record.at_s for record in trace.records if isinstance(record, RequestFinished | StepDone)] == [5.0, 5.0]


class Ticking(Stack):
    """Wants to be woken every millisecond, or again and again at one instant."""

    tick_s = 1e-3

    def decide(self, event: Event, view: ServingView) -> Iterator[Action]:
        yield from super().decide(event, view)
        if not isinstance(event, Woke) or event.tag == "tick":
            yield Wake(view.now_s + self.tick_s, "tick")


def test_many_wake_ups_in_a_row_do_not_end_a_run_to_which_requests_are_still_to_come() -> None:
    quiet_s = 3 * MAX_IDLE_WAKES * Ticking.tick_s
    world = ServingWorld([true("x", output=1), true("y", at_s=quiet_s, output=1)], instances("a"), SECOND)
    report = simulate(world, Ticking(batch=SarathiServe()))
    assert (world.num_left, report.duration_s) == (0, quiet_s + 1.0)


def test_wake_ups_at_one_and_the_same_instant_end_a_run_at_last() -> None:
    class Spinning(Ticking):
        tick_s = 0.0

    world = ServingWorld([true("x", output=1), true("y", at_s=9.0)], instances("a"), SECOND)
    report = simulate(world, Spinning(batch=SarathiServe()))
    assert world.num_left == 2
    assert report.num_events <= 2 * MAX_IDLE_WAKES + 10


def test_a_time_that_is_no_number_is_now() -> None:
    policy = Scripted([*start("x"), step(Piece("x", 20)), Wake(float("nan"))])
    simulate(ServingWorld([true("x")], instances("gpu"), SECOND), policy)
    assert policy.told() == [("RequestArrived", 0.0), ("Woke", 0.0), ("StepDone", 1.0)]


def test_what_a_world_keeps_of_decodes_does_not_grow_with_their_tokens() -> None:
    (place,) = instances("a")
    ends, states = Ends(place), [RequestState(true(name).request) for name in "xy"]
    for state in states:
        state.compute(20)
        state.give(0.0)
    for left in range(1000, 0, -1):  # as in a pipeline: they leave with every step, and come back with a token
        for state in states:
            place.decodes.join(state, hashing=False)
            ends.expect(state, left)
        assert ends.num_runs() == left
        for state in states:
            place.decodes.drop(state)
    assert len(ends) < 100
