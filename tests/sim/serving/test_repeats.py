"""Repeated steps while something else happens at their instance: memory is taken, a transfer is owed, one lands."""

from __future__ import annotations

from collections.abc import Iterable

from headway.core.actions import Action, Move, Preempt, Start, Wake
from headway.core.drivers import simulate
from headway.core.events import Event
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import UNTIL_NEWS, Piece, RequestMoved, Step, StepDone
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.links import Links
from headway.sim.serving.world import ServingWorld
from sim.serving.test_world import SECOND, Scripted, start, step, true

DECODE_A = step(Piece("a", 1), repeat=UNTIL_NEWS)


def instance(name: str = "gpu", host_blocks: int = 0) -> InstanceState:
    return InstanceState(name, BlockPool(8), 4, host_blocks=host_blocks)


def test_a_start_may_take_the_memory_that_repeats_were_to_grow_into() -> None:
    policy = Scripted(
        [*start("a", 20), step(Piece("a", 20))],
        [Move("b", "gpu")],  # it waits here when the repeats begin
        [DECODE_A, Wake(5.5)],
        [Start("b", {"gpu": {"kv_tokens": 96}})],
    )
    world = ServingWorld([true("a", output=50), true("b", at_s=0.5)], [instance()], SECOND)
    simulate(world, policy)
    # Two blocks hold 32 tokens: 20 are there after the first step, so 12 runs fit.
    assert policy.told() == [("RequestArrived", 0.0), ("RequestArrived", 0.5), ("StepDone", 1.0), ("Woke", 5.5),
                             ("StepDone", 13.0)]  # fmt: skip


def test_a_move_may_take_the_memory_that_repeats_were_to_grow_into() -> None:
    policy = Scripted(
        [*start("a", 20), step(Piece("a", 20))],
        [Move("b", "gpu1"), Start("b", {"gpu1": {}}), Step(instance="gpu1", pieces=(Piece("b", 90),))],
        [DECODE_A],
        [Move("b", "gpu")],
    )
    requests = [true("a", output=50), true("b", at_s=0.5, prompt=90)]
    world = ServingWorld(requests, [instance(), instance("gpu1")], SECOND, links=Links(latency_s=50.0))
    simulate(world, policy)
    assert policy.told()[-2:] == [("StepDone", 13.0), ("RequestMoved", 51.5)]


def test_a_transfer_from_the_host_delays_the_next_run_of_a_repeated_step() -> None:
    policy = Scripted(
        [*start("a")],
        [*start("b"), step(Piece("a", 20), Piece("b", 20))],
        [Preempt("b", "swap"), step(Piece("a", 1), repeat=6), Wake(4.7)],
        [Start("b", {"gpu": {}})],
    )
    requests = [true("a", output=20), true("b", output=20)]
    links = Links(token_bytes=1.0, host_bytes_per_s=160.0)  # 0.125 s each way for the 20 tokens of b
    world = ServingWorld(requests, [instance(host_blocks=4)], SECOND, links=links)
    simulate(world, policy)
    assert policy.told()[-1] == ("StepDone", 7.25)


def test_an_instance_is_idle_when_its_step_is_said_to_be_done() -> None:
    class Eager(Scripted):
        """Begins a step whenever it can."""

        def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
            busy = view.instances["gpu"].busy
            if isinstance(event, RequestMoved | StepDone) and event.instance == "gpu":
                seen.append((type(event).__name__, busy))
                return [] if busy else [step(*[state.one for state in view.instances["gpu"].decodes])]
            return super().decide(event, view)

    seen: list[tuple[str, bool]] = []
    policy = Eager(
        [*start("a"), step(Piece("a", 20))],
        [Move("b", "gpu1"), Start("b", {"gpu1": {}}), Step(instance="gpu1", pieces=(Piece("b", 20),))],
        [Move("b", "gpu")],
    )
    requests = [true("a", output=9), true("b", at_s=0.5)]
    simulate(ServingWorld(requests, [instance(), instance("gpu1")], SECOND), policy)
    assert seen[:3] == [("StepDone", False), ("RequestMoved", True), ("StepDone", False)]


def test_the_gap_of_a_request_that_joins_decodes_without_a_token_is_whole() -> None:
    gaps = TokenGaps()
    policy = Scripted(
        [*start("a")],
        [*start("b"), step(Piece("a", 20), Piece("b", 20))],
        [Preempt("a"), Start("a", {"gpu": {}}), step(Piece("b", 1))],
        [step(Piece("b", 1), Piece("a", 20))],  # all that a knows but its first token, which follows
        [step(Piece("b", 1), Piece("a", 1))],
    )
    world = ServingWorld([true("a", output=9), true("b", output=9)], [instance()], SECOND, gaps=gaps)
    simulate(world, policy)
    assert (gaps.itl_s.count, gaps.itl_s.max, gaps.itl_s.total) == (4, 3.0, 6.0)  # of b 1 + 1 + 1, of a 3
