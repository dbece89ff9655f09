"""The two drivers: events in, actions out, refusals back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from core.deciding import Replays, Says, ticks
from headway.core.actions import Action, Preempt, Wake
from headway.core.drivers import serve, simulate
from headway.core.errors import IllegalAction
from headway.core.events import Event, Refused
from headway.core.report import Report
from headway.core.session import MAX_REFUSALS_PER_EVENT, Session
from headway.core.view import Board


class ReplaysLive:
    """The same as `Replays`, in real time."""

    def __init__(self, world: Replays) -> None:
        self.view = world.view
        self._world = world

    async def events(self) -> AsyncIterator[Event]:
        while (event := self._world.next()) is not None:
            await asyncio.sleep(0)
            yield event

    async def apply(self, action: Action) -> str | None:
        await asyncio.sleep(0)
        return self._world.apply(action)


Drive = Callable[[Replays, Says], Report]


def live(world: Replays, policy: Says) -> Report:
    return asyncio.run(serve(ReplaysLive(world), policy))


both = pytest.mark.parametrize("drive", [simulate, live], ids=["simulate", "serve"])


@both
def test_every_event_is_told_and_every_action_carried_out_in_order(drive: Drive) -> None:
    world, policy = Replays(ticks(3)), Says(lambda event: [Wake(event.at_s), Wake(event.at_s + 1)])
    report = drive(world, policy)
    assert policy.heard == ticks(3)
    assert world.taken == [Wake(at_s) for at_s in (0.0, 1.0, 1.0, 2.0, 2.0, 3.0)]
    assert (report.num_events, report.num_actions) == (3, 6)


@both
def test_a_refusal_is_told_before_the_next_event(drive: Drive) -> None:
    def answer(event: Event) -> list[Action]:
        return [Wake(5.0)] if isinstance(event, Refused) else [Preempt("a")]

    world = Replays(ticks(2), refuses=lambda action: "no" if isinstance(action, Preempt) else None)
    policy = Says(answer)
    report = drive(world, policy)
    told = [type(event).__name__ for event in policy.heard]
    assert told == ["Finished", "Refused", "Finished", "Refused"]
    assert policy.heard[3].at_s == 1.0
    assert world.taken == [Wake(5.0), Wake(5.0)]
    assert report.refused == {"no": 2}


@both
def test_a_policy_that_insists_cannot_spin_for_ever(drive: Drive) -> None:
    world, policy = Replays(ticks(2), refuses=lambda _: "never"), Says(lambda _: [Preempt("a")])
    report = drive(world, policy)
    assert len(policy.heard) == 2 * (1 + MAX_REFUSALS_PER_EVENT)
    assert report.num_refused == 2 * (1 + MAX_REFUSALS_PER_EVENT)


def test_a_prepared_session_is_used() -> None:
    world, policy = Replays(ticks(1), refuses=lambda _: "never"), Says(lambda _: [Preempt("a")])
    session: Session[Board] = Session(policy, world.view, strict=True)
    with pytest.raises(IllegalAction):
        simulate(world, policy, session=session)
    assert session.num_events == 1
