"""semi-PD on a small instance: two workers, their steps, and what the controller hears."""

from __future__ import annotations

import pytest

from headway.core.actions import Action, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.nouns import Slo
from headway.core.session import Session
from headway.core.slo import SloClass
from headway.core.trace import MemoryTrace
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import UNTIL_NEWS, RequestFinished, Step
from headway.policies.serving.semi_pd import SemiPd
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld
from policies.serving.making import OneInstance


def two_lanes(seat: SemiPd, num_blocks: int = 64) -> OneInstance:
    one = OneInstance(seat, num_blocks)
    one.instance.num_lanes = 2
    one.board.can |= {"lanes", "share"}
    return one


def form(one: OneInstance, seat: SemiPd) -> tuple[Step | None, list[Action]]:
    """Ask for a step and let it begin."""
    draft = InstanceDraft(one.instance)
    step = seat.form(one.instance, draft, one.board.now_s)
    for action in [*draft.actions, *([step] if step else [])]:
        if not isinstance(action, Wake):
            assert one.board.apply(action) is None, action
    return step, draft.actions


def done(one: OneInstance, step: Step) -> None:
    one.board.now_s += 1.0
    one.board.advance(step, one.board.now_s)
    one.board.end(step)


def test_one_instance_without_lanes_runs_prompts_first() -> None:
    one = OneInstance(SemiPd(chunk_tokens=150))
    one.arrive("a", "b")
    assert one.turn() == [("a", 100), ("b", 50)]
    assert one.turn() == [("b", 50)]
    assert one.turn() == [("a", 1), ("b", 1)]


def test_both_workers_run_at_once_with_their_shares() -> None:
    seat = SemiPd(prefill_share=0.8, decode_share=0.9)
    one = two_lanes(seat)
    one.arrive("a")
    prompt, _ = form(one, seat)
    assert prompt is not None
    assert (prompt.share, prompt.num_tokens) == (0.8, 100)
    assert form(one, seat) == (None, [])  # one prompt at a time
    done(one, prompt)
    one.arrive("b", "c")
    decode, actions = form(one, seat)
    assert decode is not None
    assert (decode.share, decode.num_tokens, decode.repeat) == (0.9, 1, UNTIL_NEWS)
    assert [type(action) for action in actions] == [Wake]  # the other worker is idle, too
    prompt, _ = form(one, seat)
    assert prompt is not None
    assert [piece.request for piece in prompt.pieces] == ["b", "c"]
    done(one, prompt)
    assert [state.id for state in one.instance.decodes] == ["a"]
    assert form(one, seat) == (None, [])
    done(one, decode)
    assert [state.id for state in one.instance.decodes] == ["a", "b", "c"]


def test_a_full_batch_of_decodes_lets_the_latest_wait_but_no_prompt() -> None:
    seat = SemiPd(max_batch=2)
    one = two_lanes(seat)
    one.arrive("a", "b", "c")
    prompt, _ = form(one, seat)
    assert prompt is not None
    done(one, prompt)
    one.arrive("d")
    for _ in range(3):
        decode, _ = form(one, seat)
        assert decode is not None
        assert [piece.request for piece in decode.pieces] == ["a", "b"]
        prompt, _ = form(one, seat)
        if prompt is not None:
            assert [piece.request for piece in prompt.pieces] == ["d"]
            done(one, prompt)
        assert form(one, seat) == (None, [])
        done(one, decode)
    assert {state.id: state.output_tokens for state in one.instance.decodes} == {"a": 4, "b": 4, "c": 1, "d": 1}


def test_when_memory_is_short_a_decode_gives_way_while_a_prompt_is_computed() -> None:
    seat = SemiPd(watermark_frac=0.0)
    one = two_lanes(seat, num_blocks=8)
    one.arrive("a", prompt=47, most=40)
    one.arrive("b", prompt=15, most=40)
    first, _ = form(one, seat)
    assert first is not None
    done(one, first)
    one.arrive("c", prompt=64, most=40)
    decode, _ = form(one, seat)
    prompt, _ = form(one, seat)
    assert decode is not None
    assert prompt is not None
    assert one.instance.kv.num_free == 0  # c has all the rest
    done(one, decode)
    decode, _ = form(one, seat)  # a and b need a block each; c cannot give way, it is being computed
    assert decode is not None
    assert [piece.request for piece in decode.pieces] == ["a"]
    assert one.waiting == ["b"]


@pytest.mark.parametrize(
    ("ttft_s", "tpot_s", "which"), [(0.02, 10.0, "prefill"), (100.0, 0.0085, "decode"), (100.0, 10.0, "")]
)
def test_the_worker_that_breaks_its_promise_gets_more(ttft_s: float, tpot_s: float, which: str) -> None:
    seat = SemiPd(prefill_share=0.5, decode_share=0.5, window=40)
    promise = SloClass(name="default", slos=(Slo("ttft_s", ttft_s), Slo("tpot_s", tpot_s)))
    world = ServingWorld(
        RandomRequests(num_requests=60, rate_per_s=8.0).draw(1),
        [InstanceState("gpu", BlockPool(400), num_layers=4)],
        promises=[promise],
    )
    policy = Stack(batch=seat)
    simulate(world, policy)
    found = seat.partition("gpu")
    shares = {"prefill": found.prefill, "decode": found.decode}
    assert [name for name, share in shares.items() if share > 0.5] == ([which] if which else [])
    assert len(found.ttft_samples) > 3


def test_static_shares_stay_and_bounds_may_be_parameters() -> None:
    def played(seat: SemiPd) -> set[float]:
        world, trace = (
            ServingWorld(
                RandomRequests(num_requests=60, rate_per_s=8.0).draw(1),
                [InstanceState("gpu", BlockPool(400), num_layers=4)],
            ),
            MemoryTrace(),
        )
        policy = Stack(batch=seat)
        simulate(world, policy, session=Session(policy, world.view, trace=trace))
        assert sum(isinstance(record, RequestFinished) for record in trace.records) == 60
        return {record.share for record in trace.records if isinstance(record, Step)}

    assert played(SemiPd(prefill_share=0.6, decode_share=0.4, window=0, ttft_s=1e-3)) == {0.6, 0.4}
    assert len(played(SemiPd(prefill_share=0.6, decode_share=0.4, window=40, ttft_s=1e-3, tpot_s=10.0))) > 2


@pytest.mark.parametrize("wrong", [{"prefill_share": 0.0}, {"decode_share": 1.5}, {"window": -1}, {"quantile": 1.0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"serving/semi-pd: {next(iter(wrong))} must be"):
        SemiPd(**wrong)  # type: ignore[arg-type]
