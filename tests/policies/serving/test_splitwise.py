"""Splitwise: pools and their loans, whole prompts before tokens, and keys and values on their way between machines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headway.core.actions import Move, Start
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import (
    UNTIL_NEWS,
    Copied,
    Copy,
    Piece,
    Request,
    RequestFinished,
    RequestMoved,
    Step,
    StepDone,
)
from headway.policies.serving.splitwise import Splitwise
from headway.policies.serving.splitwise_batch import WholePrompts
from headway.policies.serving.splitwise_pools import MIXED, PROMPT, TOKEN, Clusters, homes
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.links import Links
from headway.sim.serving.outages import Outage
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

ABLE = frozenset({"migrate", "copy", "repeat"})


def machine(pool: str, name: str = "", num_blocks: int = 64) -> InstanceState:
    return InstanceState(name or pool, BlockPool(num_blocks, 16), 4, pool=pool)


def board(*machines: InstanceState) -> ServingBoard:
    return ServingBoard(machines, ABLE)


def ask(id: str, prompt: int = 64, most: int = 16) -> Request:
    return Request(id=id, arrival_s=0.0, prompt_tokens=prompt, max_tokens=most)


def fresh(**parameters: object) -> Splitwise:
    made = Splitwise(**parameters)  # type: ignore[arg-type]
    made.reset(np.random.default_rng(0))
    return made


# Pools ---------------------------------------------------------------------------------------------------------------


def test_homes_go_by_the_name_of_the_pool_or_by_a_share() -> None:
    named = [machine("prompt"), machine("token-h100", "t"), machine("mixed", "m")]
    assert homes(named, 0.5) == {"prompt": PROMPT, "t": TOKEN, "m": MIXED}
    plain = [machine("main", f"i{n}") for n in range(4)]
    assert list(homes(plain, 0.75).values()) == [PROMPT, PROMPT, PROMPT, TOKEN]
    assert list(homes(plain, 1.0).values()) == [PROMPT, PROMPT, PROMPT, TOKEN]  # somebody must compute outputs
    assert list(homes(plain[:1], 0.5).values()) == [MIXED]


def choose(pools: Clusters, view: ServingBoard, request: Request, tokens: float) -> tuple[str, str]:
    return tuple(pools.choose(RequestState(request), view.instances, lambda _: tokens))  # type: ignore[return-value]


def test_prompts_go_to_the_shortest_queue_and_outputs_to_the_least_promised() -> None:
    view = board(machine("prompt", "p0"), machine("prompt", "p1"), machine("token", "t0"), machine("token", "t1"))
    pools = Clusters(0.5, 8192)
    view.add(ask("w", 100))
    assert view.apply(Move("w", "p0")) is None
    assert choose(pools, view, ask("a"), 300) == ("p1", "t0")
    assert choose(pools, view, ask("b"), 100) == ("p1", "t1")
    assert choose(pools, view, ask("c"), 50) == ("p1", "t1")
    assert pools.reserved_tokens(view.instances["p1"]) == 450
    pools.forget("a")
    assert pools.reserved_tokens(view.instances["t0"]) == 0


def test_full_pools_are_helped_by_the_mixed_one_then_by_each_other() -> None:
    view = board(machine("prompt", "p"), machine("token", "t"), machine("mixed", "m"))
    pools = Clusters(0.5, max_queue_tokens=200)
    view.add(ask("w", 190))
    assert view.apply(Move("w", "p")) is None
    assert choose(pools, view, ask("a"), 1000) == ("m", "t")
    assert choose(pools, view, ask("b"), 1000) == ("m", "p")  # t and m have no room, so p helps out
    assert pools.pool_of("p") == MIXED
    assert choose(pools, view, ask("c"), 1000) == ("t", "t")  # nobody is left to help: the shortest queue does both
    pools.forget("b")
    choose(pools, view, ask("d", 5), 10)
    assert pools.pool_of("p") == PROMPT  # its foreign work is done


def test_a_token_machine_that_computes_prompts_goes_home_when_they_are_done() -> None:
    view = board(machine("prompt", "p"), machine("token", "t"))
    pools = Clusters(0.5, max_queue_tokens=100)
    view.add(ask("w", 190))
    assert view.apply(Move("w", "p")) is None
    assert choose(pools, view, ask("a"), 80) == ("t", "t")
    assert pools.pool_of("t") == MIXED
    view.add(ask("a"))
    assert view.apply(Move("a", "t")) is None
    choose(pools, view, ask("b"), 80)
    assert pools.pool_of("t") == MIXED  # the prompt is still to come
    view.finish("a", "cancelled", 1.0)
    view.finish("w", "cancelled", 1.0)
    choose(pools, view, ask("c"), 80)
    assert pools.pool_of("t") == TOKEN


# Steps ---------------------------------------------------------------------------------------------------------------


def run(view: ServingBoard, at: str, step: Step) -> None:
    assert view.apply(step) is None
    view.advance(step, 1.0)
    view.end(step)


def decoding(view: ServingBoard, at: str, *ids: str, prompt: int = 16) -> None:
    for id_ in ids:
        view.add(ask(id_, prompt))
        for action in (Move(id_, at), Start(id_, {at: {}})):
            assert view.apply(action) is None
    run(view, at, Step(instance=at, pieces=tuple(Piece(id_, prompt) for id_ in ids)))


def waiting(view: ServingBoard, at: str, **prompts: int) -> None:
    for id_, prompt in prompts.items():
        view.add(ask(id_, prompt))
        assert view.apply(Move(id_, at)) is None


def formed(batch: WholePrompts, instance: InstanceState, leaving: Sequence[str] = ()) -> list[tuple[str, int]]:
    step = batch.form(instance, InstanceDraft(instance), leaving)
    return [(piece.request, piece.tokens) for piece in step.pieces] if step else []


def test_prompts_are_whole_and_tokens_come_beside_them() -> None:
    view = board(machine("mixed", num_blocks=400))
    (instance,) = view.instances.values()
    decoding(view, "mixed", "d1", "d2")
    waiting(view, "mixed", a=1500, b=500, c=300)
    assert formed(WholePrompts(2048, 512, 4, 0.0), instance) == [("d1", 1), ("d2", 1), ("a", 1500), ("b", 500)]
    view.finish("a", "cancelled", 1.0)
    view.finish("b", "cancelled", 1.0)
    view.finish("c", "cancelled", 1.0)
    step = WholePrompts(2048, 512, 4, 0.0).form(instance, InstanceDraft(instance), ())
    assert step is not None
    assert (step.pieces, step.repeat) == (instance.decodes.pieces, UNTIL_NEWS)


def test_a_long_prompt_runs_alone_until_tokens_were_passed_over_too_often() -> None:
    view = board(machine("mixed", num_blocks=400))
    (instance,) = view.instances.values()
    decoding(view, "mixed", "d")
    waiting(view, "mixed", a=3000)
    batch = WholePrompts(2048, 512, 2, 0.0)
    assert [formed(batch, instance) for _ in range(3)] == [
        [("a", 3000)],
        [("a", 3000)],
        [("d", 1), ("a", 3000)],
    ]


def test_those_whose_output_is_computed_elsewhere_do_not_decode() -> None:
    view = board(machine("prompt"))
    (instance,) = view.instances.values()
    decoding(view, "prompt", "gone", "stays")
    assert formed(WholePrompts(2048, 512, 4, 0.0), instance, ["gone"]) == [("stays", 1)]
    assert formed(WholePrompts(2048, 512, 4, 0.0), instance, ["gone", "stays"]) == []


# Whole runs ----------------------------------------------------------------------------------------------------------

PRICE = LinearPrice(fixed_s=0.5, prefill_token_s=0.001, decode_s=0.0, context_token_s=0.0)


def play(
    requests: Sequence[TrueRequest],
    *machines: InstanceState,
    splitwise: Splitwise | None = None,
    links: Links | None = None,
    can: frozenset[str] = ABLE,
    outages: Sequence[Outage] = (),
) -> tuple[list[object], ServingWorld]:
    world = ServingWorld(requests, machines, PRICE, links=links, can=can, outages=outages)
    seat = splitwise or Splitwise()
    policy, trace = Stack(batch=seat, route=seat, migrate=seat), MemoryTrace()
    report = simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert not report.num_refused, report.refused
    return list(trace.records), world


def true(id: str, prompt: int, output: int, at_s: float = 0.0) -> TrueRequest:
    request = Request(id=id, arrival_s=at_s, prompt_tokens=prompt, max_tokens=output)
    return TrueRequest(request=request, output_tokens=output)


@pytest.mark.parametrize(("layerwise", "took_s"), [(512, 0.1), (2000, 2.1)])
def test_long_prompts_are_sent_layer_by_layer_and_short_ones_at_once(layerwise: int, took_s: float) -> None:
    links = Links(token_bytes=1.0, between_bytes_per_s=500.0, latency_s=0.1)
    fleet = (machine("prompt", num_blocks=200), machine("token", num_blocks=200))
    records, _ = play([true("a", 1000, 3)], *fleet, splitwise=Splitwise(layerwise_tokens=layerwise), links=links)
    (moved,) = [record for record in records if isinstance(record, RequestMoved)]
    assert moved.took_s == pytest.approx(took_s)
    (done,) = [record for record in records if isinstance(record, RequestFinished)]
    # Two of its 2 s on the link are hidden behind the prompt's 1.5 s, but for the start and the last layer of it.
    copied = [record for record in records if isinstance(record, Copied)]
    assert [record.at_s for record in copied] == ([pytest.approx(2.1)] if layerwise == 512 else [])
    assert done.ttft_s == pytest.approx(1.5)
    assert done.e2e_s == pytest.approx((2.2 if layerwise == 512 else 3.6) + 2 * 0.5)


def test_prompts_never_delay_outputs_on_other_machines() -> None:
    requests = [true("long", 32, 40), *(true(f"p{n}", 600, 1, at_s=1.0 + n) for n in range(10))]
    apart, _ = play(requests, machine("prompt"), machine("token"))
    together, _ = play(requests, machine("mixed"), can=frozenset())
    slow, fast = (
        next(r.tpot_s for r in records if isinstance(r, RequestFinished) and r.id == "long")
        for records in (together, apart)
    )
    assert fast == pytest.approx(0.5, rel=0.01)
    assert slow > 1.3 * fast
    steps = [record for record in apart if isinstance(record, Step) and record.instance == "token"]
    assert all(piece.tokens == 1 for step in steps for piece in step.pieces)


def test_without_migration_one_machine_does_both() -> None:
    records, _ = play([true("a", 600, 4)], machine("prompt"), machine("token"), can=frozenset({"repeat"}))
    assert {record.instance for record in records if isinstance(record, StepDone)} == {"prompt"}
    assert not [record for record in records if isinstance(record, Copy | RequestMoved)]


def test_a_full_destination_lets_requests_wait_with_their_memory() -> None:
    requests = [true("first", 300, 60), true("second", 300, 10, at_s=0.1)]
    records, world = play(requests, machine("prompt"), machine("token", num_blocks=24), links=Links(token_bytes=1.0))
    ends = {record.id: record for record in records if isinstance(record, RequestFinished)}
    assert sorted(ends) == ["first", "second"]
    assert all(end.num_preempted == 0 for end in ends.values())
    assert all(i.kv.num_free == i.kv.num_blocks for i in world.view.instances.values())


def test_another_machine_is_found_when_the_destination_fails() -> None:
    links = Links(token_bytes=1.0, between_bytes_per_s=100.0)
    fleet = (machine("prompt", num_blocks=200), machine("token", "t0"), machine("token", "t1"))
    outage = Outage(instance="t0", at_s=1.0, lasts_s=1e6)
    records, _ = play([true("a", 600, 5)], *fleet, links=links, outages=[outage])
    assert [record.instance for record in records if isinstance(record, RequestMoved)] == ["t1"]
    assert len([record for record in records if isinstance(record, RequestFinished)]) == 1


@settings(max_examples=20, deadline=None)
@example(seed=122845, num_prompt=1, num_blocks=45)  # prompts that are to leave, beside outputs that stay
@given(seed=st.integers(0, 1 << 20), num_prompt=st.integers(1, 2), num_blocks=st.integers(45, 90))
def test_everybody_is_served_and_nothing_is_refused(seed: int, num_prompt: int, num_blocks: int) -> None:
    requests = RandomRequests(num_requests=30).draw(seed)
    fleet = [machine("prompt", f"p{n}", num_blocks) for n in range(num_prompt)] + [machine("token", "t", num_blocks)]
    world = ServingWorld(requests, fleet, links=Links(token_bytes=1.0, between_bytes_per_s=1e4))
    seat = Splitwise(layerwise_tokens=64)
    trace = MemoryTrace()
    policy = Stack(batch=seat, route=seat, migrate=seat)
    report = simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert not report.num_refused, report.refused
    ended = [record.id for record in trace.records if isinstance(record, RequestFinished)]
    assert sorted(ended) == sorted(one.request.id for one in requests)
    assert not world.view.copies
    assert all(i.kv.num_free == i.kv.num_blocks for i in world.view.instances.values())


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="serving/splitwise: max_seqs must be >= 1, got 0"):
        Splitwise(max_seqs=0)
