"""Llumnix: freeness and pairs by hand, migration in stages, priorities, scaling, and whole runs in a small world."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest

from headway.core.actions import Action, Move, Set, Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Changed, Refused, Woke
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.llumnix import MIGRATE, SCALE, Llumnix
from headway.policies.serving.llumnix_load import Freeness
from headway.policies.serving.nouns import (
    Copied,
    Copy,
    Piece,
    Request,
    RequestArrived,
    RequestFinished,
    RequestMoved,
    Step,
    StepDone,
    Uncopy,
)  # fmt: skip
from headway.policies.serving.pools import PoolState
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.links import Links
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

BLOCK = 16
PLAIN = Freeness(watermark_frac=0.0, target_tokens=32)


def request(id: str, prompt: int, priority: int = 0, at_s: float = 0.0, most: int = 400) -> Request:
    return Request(id=id, arrival_s=at_s, prompt_tokens=prompt, max_tokens=most, priority=priority)


def board(*num_blocks: int) -> ServingBoard:
    states = [InstanceState(name, BlockPool(num, BLOCK), 2) for name, num in zip("abcd", num_blocks, strict=False)]
    return ServingBoard(states, frozenset({"migrate", "copy", "scale"}))


def run(view: ServingBoard, at: str, id: str, prompt: int, priority: int = 0) -> RequestState:
    """Let a request run and decode at an instance."""
    state = view.add(request(id, prompt, priority))
    step = Step(instance=at, pieces=(Piece(id, prompt),))
    for action in (Move(id, at), Start(id, {at: {}}), step):
        assert view.apply(action) is None
    view.advance(step, 0.0)
    view.end(step)
    return state


def queue(view: ServingBoard, at: str, id: str, prompt: int, priority: int = 0) -> None:
    view.add(request(id, prompt, priority))
    assert view.apply(Move(id, at)) is None


def seat(**parameters: object) -> Llumnix:
    made = Llumnix(**{"watermark_frac": 0.0, **parameters})  # type: ignore[arg-type]
    made.reset(np.random.default_rng(0))
    return made


def look(made: Llumnix, view: ServingBoard) -> list[Action]:
    """Let it look for pairs."""
    made.steer(RequestArrived(at_s=0.0, work=request("new", 1)), view)
    return [a for a in made.steer(Woke(at_s=0.1, tag=MIGRATE), view) if not isinstance(a, Wake)]


def test_freeness_counts_blocks_per_running_request_and_the_head_of_the_queue() -> None:
    view = board(20)
    (a,) = view.instances.values()
    assert PLAIN.of(a) == inf
    run(view, "a", "r1", 64)
    run(view, "a", "r2", 64)
    assert PLAIN.of(a) == 12 / 2
    queue(view, "a", "w1", 48)
    queue(view, "a", "w2", 160)
    assert PLAIN.of(a) == (12 - 3) / 3
    assert PLAIN.for_dispatch(a) == (12 - 3 - 10) / 3
    queue(view, "a", "w3", 96, priority=1)  # it goes first
    assert PLAIN.of(a) == (12 - 6) / 3
    a.draining = True
    assert PLAIN.of(a) == -inf


def test_high_priority_brings_headroom() -> None:
    view = board(20)
    (a,) = view.instances.values()
    run(view, "a", "high", 64, priority=1)
    assert PLAIN.of(a) == 16 - 18  # all but two blocks are headroom
    assert PLAIN.over_target(a) == 2


def test_the_least_free_gives_its_shortest_request_to_the_freest() -> None:
    view = board(10, 10, 10)
    run(view, "a", "long", 96)
    run(view, "a", "short", 48)
    run(view, "b", "other", 48)
    assert look(seat(), view) == [Copy("short", "c")]  # (10 - 9) / 2 is below 3, c is empty


def test_lower_priority_leaves_first() -> None:
    view = board(20, 20)
    run(view, "a", "high", 64, priority=1)
    run(view, "a", "long", 96)
    assert look(seat(target_tokens=64), view) == [Copy("long", "b")]


def test_nobody_moves_where_nothing_is_gained() -> None:
    view = board(10, 10)
    run(view, "a", "r", 120)
    assert look(seat(), view) == []  # b would be as full as a is
    assert look(seat(migrate=False), view) == []


def test_stages_follow_each_other_until_little_is_missing() -> None:
    view, made = board(40, 60), seat(last_stage_blocks=2, migrate_below=40)
    state = run(view, "a", "r", 64)
    (copy,) = look(made, view)
    assert copy == Copy("r", "b")
    assert view.apply(copy) is None
    view.books.over("r")
    step(view, "a", 40)  # 40 tokens more: three blocks are missing
    over = Copied(at_s=1.0, id="r", to="b", tokens=64, took_s=0.5)
    assert list(made.steer(over, view)) == [Copy("r", "b")]
    assert view.apply(Copy("r", "b")) is None
    view.books.over("r")
    assert view.apply(Step(instance="a", pieces=(state.one,))) is None
    assert list(made.steer(over, view)) == []  # a step of it is under way
    end(view, "a")
    assert list(made.steer(StepDone(at_s=2.0, instance="a", step_s=1.0, num_tokens=1), view)) == [Move("r", "b")]


def test_who_does_not_get_ready_in_time_stays() -> None:
    view, made = board(40, 60), seat(last_stage_blocks=1, max_stages=1, migrate_below=40)
    run(view, "a", "r", 64)
    (copy,) = look(made, view)
    assert view.apply(copy) is None
    view.books.over("r")
    step(view, "a", 1)
    over = Copied(at_s=1.0, id="r", to="b", tokens=64, took_s=0.5)
    assert list(made.steer(over, view)) == [Uncopy("r")]


@pytest.mark.parametrize("how", ["refused", "finished", "preempted", "lost"])
def test_what_ends_a_migration_frees_its_instances_for_others(how: str) -> None:
    view, made = board(12, 30), seat()
    run(view, "a", "r", 96)
    run(view, "a", "s", 80)
    (copy,) = look(made, view)
    assert copy == Copy("s", "b")
    if how == "refused":
        made.steer(Refused(at_s=0.2, action="Copy", id="s", why="no"), view)
    elif how == "finished":
        made.steer(view.finish("s", "stop", 0.2), view)
        run(view, "a", "s2", 80)
    elif how == "preempted":
        made.steer(Copied(at_s=0.2, id="s", to="b", tokens=80, took_s=0.1), view)  # and its copy is gone
    else:
        lost = view.fail("b")
        made.steer(Changed(at_s=0.2, resource=lost, up=False), view)
        view.recover(InstanceState("b", BlockPool(30, BLOCK), 2))
    assert [type(action) for action in look(made, view)] == [Copy]


def test_the_queue_is_by_priority_then_first_come_first_served() -> None:
    view = board(10)
    for id_, priority in (("a1", 0), ("h1", 2), ("a2", 0), ("h2", 2)):
        queue(view, "a", id_, 16, priority)
    assert [state.id for state in seat().queue(view.instances["a"], 0.0)] == ["h1", "h2", "a1", "a2"]


def test_dispatch_is_to_the_freest_and_high_priority_stays_together() -> None:
    view, made = board(30, 30, 30), seat(target_tokens=160)
    run(view, "a", "high", 32, priority=1)
    run(view, "b", "r", 160)
    assert made.pick(RequestState(request("n", 32)), view) == "c"
    run(view, "c", "s", 320)
    assert made.pick(RequestState(request("n", 32)), view) == "b"  # a keeps its headroom
    assert made.pick(RequestState(request("h", 32, priority=1)), view) == "a"
    assert made.pick(RequestState(request("h", 320, priority=1)), view) == "a"  # the emptiest, all being too full


def test_scaling_asks_for_as_many_as_lift_the_mean_and_takes_away_one_by_one() -> None:
    view, made = board(20, 20), seat(scale=True, scale_up_below=10.0, scale_down_above=15.0, min_instances=1)
    view.pools = {"": PoolState(num_up=2, most=4)}
    made.steer(RequestArrived(at_s=0.0, work=request("new", 1)), view)
    run(view, "a", "r", 288)
    run(view, "b", "s", 256)

    def asked() -> list[Action]:
        made.steer(RequestArrived(at_s=0.0, work=request("new", 1)), view)
        return [a for a in made.steer(Woke(at_s=10.0, tag=SCALE), view) if not isinstance(a, Wake)]

    # Free are 2 and 4 blocks for one request each. With n empty ones of 20 blocks the mean is (6 + 20 n) / (2 + n).
    assert asked() == [Set("num_instances", 4.0, of="")]
    view.pools = {"": PoolState(num_up=2, num_starting=2, most=4)}
    assert asked() == []
    view.finish("s", "stop", 1.0)
    view.pools = {"": PoolState(num_up=2, most=4)}
    assert asked() == []  # (2 + 20) / 2 is enough, and without b 2 are too few
    view.finish("r", "stop", 1.0)
    run(view, "a", "t", 16)
    assert asked() == [Set("num_instances", 1.0, of="")]


def step(view: ServingBoard, at: str, times: int) -> None:
    for _ in range(times):
        assert view.apply(Step(instance=at, pieces=view.instances[at].decodes.pieces)) is None
        end(view, at)


def end(view: ServingBoard, at: str) -> None:
    under_way = Step(instance=at, pieces=view.instances[at].decodes.pieces)
    view.advance(under_way, 1.0)
    view.end(under_way)


class AllTo:
    """Sends everybody to one instance, as a router without luck does."""

    def reset(self, rng: np.random.Generator) -> None:
        pass

    def pick(self, state: RequestState, view: ServingView) -> str:
        return "a"


def play(
    llumnix: Llumnix | None, requests: Sequence[TrueRequest], links: Links | None = None
) -> tuple[MemoryTrace, ServingWorld]:
    instances = [InstanceState(name, BlockPool(40, BLOCK), 4) for name in "ab"]
    world = ServingWorld(requests, instances, links=links or Links(token_bytes=1.0, between_bytes_per_s=1e5))
    policy = Stack(batch=Vllm(), route=AllTo(), order=llumnix, migrate=llumnix)
    trace = MemoryTrace()
    report = simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert not report.num_refused, report.refused
    return trace, world


def burst(num: int = 6, prompt: int = 60, output: int = 120) -> list[TrueRequest]:
    made = [request(f"r{n}", prompt, at_s=0.05 * n, most=output) for n in range(num)]
    return [TrueRequest(request=one, output_tokens=output) for one in made]


def test_live_migration_takes_the_place_of_preemption() -> None:
    (alone, _), (moving, world) = play(None, burst()), play(Llumnix(migrate_below=3), burst())
    ends = [[r for r in trace.records if isinstance(r, RequestFinished)] for trace in (alone, moving)]
    assert [len(found) for found in ends] == [6, 6]
    preempted = [sum(r.num_preempted for r in found) for found in ends]
    assert preempted[0] > 0 == preempted[1]
    assert max(r.e2e_s for r in ends[1]) < max(r.e2e_s for r in ends[0])
    assert any(isinstance(r, RequestMoved) for r in moving.records)
    assert all(i.kv.num_free == i.kv.num_blocks for i in world.view.instances.values())


def test_the_pause_does_not_grow_with_the_length() -> None:
    moved = []
    for prompt in (60, 180):
        trace, _ = play(Llumnix(migrate_below=10), burst(3, prompt, 60))
        moved += [max(r.took_s for r in trace.records if isinstance(r, RequestMoved))]
    assert moved[0] == pytest.approx(moved[1], abs=1e-4)
    assert max(moved) < 1e-3  # 180 tokens alone take 1.8 ms


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="serving/llumnix: max_stages must be >= 1, got 0"):
        Llumnix(max_stages=0)
    with pytest.raises(ConfigError, match="scale_up_below must be < scale_down_above"):
        Llumnix(scale_up_below=70)
