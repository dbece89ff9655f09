"""The pace of steps, against worlds whose prices are known."""

from __future__ import annotations

import msgspec
import pytest

from headway.core.drivers import simulate
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Request, Step, StepDone
from headway.policies.serving.pace import Pace, Shape, pairs
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.price import BatchShape, Chunk, LinearPrice
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.world import ServingWorld
from policies.serving.making import OneInstance


class Curious(SarathiServe):
    """Asks for the pace, so that the stack learns it."""

    def join(self, stack: Stack) -> None:
        self.pace = stack.pace


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_it_learns_the_price_of_a_world(scale: float) -> None:
    price = LinearPrice(
        fixed_s=8e-3 * scale, prefill_token_s=1e-4 * scale, decode_s=5e-5 * scale, context_token_s=5e-8 * scale
    )
    instance = InstanceState("gpu", BlockPool(4096), num_layers=8, pool="gpu")
    seat = Curious(token_budget=256)
    requests = RandomRequests(rate_per_s=20.0 / scale, num_requests=200).draw(0)
    simulate(ServingWorld(requests, [instance], price), Stack(batch=seat))
    assert seat.pace.num_steps(instance) > 100
    for decodes, context, tokens in [(8, 2000, 0), (8, 2000, 128), (4, 1000, 200)]:
        chunks = (Chunk(tokens, 0),) if tokens else ()
        true_s = price.step_s(BatchShape(decodes, context, chunks))
        guess_s = seat.pace.step_s(instance, Shape(decodes, context, tokens, pairs(tokens, 0)))
        assert guess_s == pytest.approx(true_s, rel=0.1)


def test_before_anything_was_seen_a_larger_step_takes_longer() -> None:
    pace, instance = Pace(), InstanceState("gpu", BlockPool(8), num_layers=2)
    times_s = [pace.step_s(instance, Shape(n, 100 * n, 64 * n, pairs(64 * n, 0))) for n in (1, 2, 4, 8)]
    assert times_s == sorted(times_s)
    assert times_s[0] > 0


def test_pools_have_their_own_pace() -> None:
    requests = RandomRequests(rate_per_s=20.0, num_requests=100).draw(0)
    instances = [InstanceState(name, BlockPool(4096), num_layers=8, pool=name) for name in ("slow", "fast")]
    prices = {"slow": LinearPrice(fixed_s=0.1), "fast": LinearPrice(fixed_s=0.01)}
    seat = Curious(token_budget=256)
    simulate(ServingWorld(requests, instances, prices), Stack(batch=seat))
    slow_s, fast_s = (seat.pace.step_s(instance, Shape(4, 400)) for instance in instances)
    assert slow_s == pytest.approx(0.1, rel=0.1)
    assert fast_s == pytest.approx(0.01, rel=0.1)


def test_refused_and_lost_steps_teach_nothing() -> None:
    one, pace = OneInstance(SarathiServe()), Pace()
    one.arrive("a", prompt=4, most=50)
    one.turn()
    step = SarathiServe().form(one.instance, one.board.draft().on("gpu"), 0.0)
    assert step is not None
    for forget in (pace.take_back, pace.forget_steps):
        pace.note(one.instance, step)
        forget("gpu")
        pace.hear(StepDone(at_s=0.0, instance="gpu", step_s=1.0, num_tokens=1))
    assert pace.num_steps(one.instance) == 0


def test_what_drafting_costs_is_learnt_beside_what_checking_costs() -> None:
    class Drafting(Curious):
        """Drafts two tokens for every decode in every other step."""

        def form(self, instance: InstanceState, draft: InstanceDraft, now_s: float) -> Step | None:
            step = super().form(instance, draft, now_s)
            self.turn = not getattr(self, "turn", False)
            decoding = [state for state in instance.decodes if draft.extend(state, 3)]
            if step is None or not self.turn or not decoding:
                return step
            return msgspec.structs.replace(step, speculate={state.id: 2 for state in decoding}, repeat=1)

    price = LinearPrice(fixed_s=8e-3, decode_s=1e-4)
    instance, seat = InstanceState("gpu", BlockPool(4096), num_layers=8, pool="gpu"), Drafting(token_budget=64)
    requests = RandomRequests(rate_per_s=20.0, num_requests=300).draw(0)
    speculation = Speculation(acceptance_frac=0.6, draft_s=2e-3)
    simulate(ServingWorld(requests, [instance], price, speculation=speculation), Stack(batch=seat))
    for decodes in (4, 12):
        plain_s = price.step_s(BatchShape(decodes, 1000))
        drafting_s = price.step_s(BatchShape(decodes, 1000, drafted_tokens=2 * decodes)) + 4e-3
        assert seat.pace.step_s(instance, Shape(decodes, 1000)) == pytest.approx(plain_s, rel=0.1)
        drafting = Shape(decodes, 1000, drafted_tokens=2 * decodes, draft_passes=2)
        assert seat.pace.step_s(instance, drafting) == pytest.approx(drafting_s, rel=0.1)


def test_a_first_step_that_is_slow_once_does_not_make_all_others_look_slow() -> None:
    instance, pace = InstanceState("gpu", BlockPool(8), num_layers=2), Pace()
    fit = pace._fit("")
    for number in range(6):
        shape = Shape(2 + number, 100 * number, 40 * number, pairs(40 * number, 0))
        true_s = 1e-2 + 1e-4 * (shape.num_decodes + shape.prefill_tokens)
        fit.learn(shape.features(), 2.0 if not number else true_s)
    assert pace.step_s(instance, Shape(20, 2000, 300, pairs(300, 0))) < 0.1


def test_an_engine_that_computes_less_than_it_was_asked_does_not_look_fast() -> None:
    price = LinearPrice(fixed_s=8e-3, prefill_token_s=1e-4)
    instance, pace, most = InstanceState("gpu", BlockPool(4096), num_layers=2, pool="gpu"), Pace(), 512
    for asked in (32, 100, 300, 500, 4000, 9000, 2000, 700) * 8:
        work = Request(id="r", arrival_s=0.0, prompt_tokens=asked, max_tokens=8)
        instance.waiting["r"] = RequestState(work)
        pace.note(instance, Step(instance="gpu", pieces=(Piece("r", asked),)))
        done = min(asked, most)
        step_s = price.step_s(BatchShape(0, 0, (Chunk(done, 0),)))
        pace.hear(StepDone(at_s=0.0, instance="gpu", step_s=step_s, num_tokens=done, num_runs=1))
    true_s = price.step_s(BatchShape(0, 0, (Chunk(400, 0),)))
    assert pace.step_s(instance, Shape(0, 0, 400, pairs(400, 0))) == pytest.approx(true_s, rel=0.05)


def test_what_is_asked_for_while_a_step_is_computed_begins_after_it() -> None:
    instance, pace = InstanceState("gpu", BlockPool(64), num_layers=2, pool="gpu"), Pace()
    assert pace.start_s(instance, 5.0) == 5.0
    pace.note(instance, Step(instance="gpu", pieces=()))
    begins_s = pace.start_s(instance, 5.0)
    assert begins_s == 5.0 + pace.step_s(instance, Shape(0, 0))
    pace.hear(StepDone(at_s=begins_s, instance="gpu", step_s=begins_s - 5.0, num_tokens=0, num_runs=1))
    assert pace.start_s(instance, begins_s) == begins_s
    stages = InstanceState("gpu", BlockPool(64), num_layers=2, num_stages=2, pool="gpu")
    pace.note(stages, Step(instance="gpu", pieces=()))
    assert pace.start_s(stages, 5.0) == 5.0  # the first stage is free again
