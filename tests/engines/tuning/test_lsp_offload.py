"""LSP-Offload in real time: what four threads train equals what one would, and the links carry what the plan says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headway.core.actions import Action
from headway.core.errors import ConfigError, EngineError
from headway.core.events import Event
from headway.core.policy import Policy
from headway.engines.tuning.lsp_offload import Offloaded, OffloadEngine, Rates
from headway.engines.tuning.lsp_offload_adam import HostAdam
from headway.engines.tuning.lsp_offload_layers import DecoderLayers, Layered, StackLayers, matrices, plain_loss, small
from headway.engines.tuning.lsp_offload_link import Link
from headway.engines.tuning.lsp_offload_measure import measured
from headway.engines.tuning.lsp_offload_projector import Pair, SparseProjector
from headway.engines.tuning.lsp_offload_rivals import GaLore, train_in_memory, train_lora
from headway.engines.tuning.lsp_offload_sides import DeviceSide, HostSide, packed, unpacked
from headway.policies.tuning.lsp_offload import LspOffload
from headway.policies.tuning.lsp_offload_nouns import LANES, Begin, OffloadView
from headway.policies.tuning.lsp_offload_order import PlainOffload
from headway.policies.tuning.lsp_offload_plan import sent_bytes

NUM_STEPS = 6
Decides = Policy[OffloadView]


def stack(seed: int = 0, num_layers: int = 3) -> StackLayers:
    torch.manual_seed(seed)
    layers = [nn.Sequential(nn.Linear(24, 40), nn.Tanh(), nn.Linear(40, 24)) for _ in range(num_layers)]
    return StackLayers(layers, num_inputs=24)


def batches(step: int) -> Tensor:
    inputs = torch.randn(8, 24, generator=torch.Generator().manual_seed(step))
    return torch.cat([inputs, inputs.flip(1).sin()], dim=1)


def train(model: Layered, policy: Decides, feed: Callable[[int], Tensor] = batches, **others: Any) -> Offloaded:
    return OffloadEngine(model, feed, policy, **{"num_steps": NUM_STEPS, "learning_rate": 1e-2, **others}).run()


def weights(model: Layered) -> list[Tensor]:
    return [one.detach().clone() for layer in model.layers for one in layer.parameters()]


def tiny_llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def sentences(step: int) -> Tensor:
    return torch.randint(0, 64, (2, 12), generator=torch.Generator().manual_seed(step))


# Equal results -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["phases", "arrival", "layers"])
def test_whole_gradients_train_as_adam_in_memory_does(order: str) -> None:
    ours, plain = stack(), stack()
    found = train(ours, PlainOffload(order=order))
    expected = train_in_memory(plain, batches, num_steps=NUM_STEPS, learning_rate=1e-2)
    torch.testing.assert_close(torch.tensor(found.losses), torch.tensor(expected))
    for one, other in zip(weights(ours), weights(plain), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_decoder_trains_as_in_memory_too_and_as_transformers_computes_its_loss() -> None:
    ours, plain = DecoderLayers(tiny_llama()), DecoderLayers(tiny_llama())
    reference = tiny_llama()(sentences(0), labels=sentences(0)).loss
    torch.testing.assert_close(plain_loss(plain, sentences(0)), reference)
    found = train(ours, PlainOffload(order="layers"), sentences)
    expected = train_in_memory(plain, sentences, num_steps=NUM_STEPS, learning_rate=1e-2)
    torch.testing.assert_close(torch.tensor(found.losses), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    frozen = [ours.model.model.embed_tokens.weight, ours.model.model.norm.weight]
    assert torch.equal(frozen[0], plain.model.model.embed_tokens.weight)
    assert torch.equal(frozen[1], torch.ones_like(frozen[1]))


def test_the_schedule_by_layers_changes_no_bit_of_what_is_trained() -> None:
    policy = LspOffload(width=12, nonzeros=4, check_steps=3, learn_steps=5, alpha=0.01)
    by_layers, again = (stack() for _ in range(2))
    first = train(by_layers, policy)
    second = train(again, policy)
    assert first.losses == second.losses
    one_after_the_other = stack()
    assert first.losses == sequential(one_after_the_other, first.form, check_steps=3)
    for one, other in zip(weights(by_layers), weights(one_after_the_other), strict=True):
        assert torch.equal(one, other)


def sequential(model: StackLayers, form: Begin, check_steps: int) -> list[float]:
    """LSP-Offload in one thread, a step after the other."""
    device = DeviceSide(model, batches, form)
    host = HostSide(HostAdam(1e-2, num_steps=NUM_STEPS))
    for step in range(NUM_STEPS):
        for layer in range(len(model.layers)):
            device.forward(layer, step)
        for layer in reversed(range(len(model.layers))):
            device.backward(layer)
            if step % check_steps == 0 and device.bias_frac(layer) > form.alpha:
                device.learn(layer)
            device.apply(layer, host.update(layer, step, device.compress(layer)))
    return device.losses


def test_projectors_that_leave_everything_as_it_is_train_as_adam_does() -> None:
    ours, plain = stack(), stack()
    device = DeviceSide(ours, batches, Begin("j", width=20, nonzeros=1))
    for layer, pairs in zip(ours.layers, device.pairs, strict=True):
        for name, weight in matrices(layer).items():
            pairs[name] = Pair(*(identity(num) for num in weight.shape))
    host = HostSide(HostAdam(1e-2, num_steps=NUM_STEPS))
    for step in range(NUM_STEPS):
        for layer_number in range(3):
            device.forward(layer_number, step)
        for layer_number in (2, 1, 0):
            device.backward(layer_number)
            assert device.bias_frac(layer_number) == 0.0
            device.apply(layer_number, host.update(layer_number, step, device.compress(layer_number)))
    expected = train_in_memory(plain, batches, num_steps=NUM_STEPS, learning_rate=1e-2)
    torch.testing.assert_close(torch.tensor(device.losses), torch.tensor(expected))


def identity(num: int) -> SparseProjector:
    return SparseProjector(torch.arange(num)[:, None], torch.ones(num, 1), width=40)


# What goes over the links --------------------------------------------------------------------------------------------


def test_bytes_on_the_links_are_those_of_the_plan_and_of_new_projectors() -> None:
    whole = train(stack(), PlainOffload())
    squares = train(stack(), PlainOffload(width=12))
    learnt = train(stack(), LspOffload(width=12, nonzeros=4, learn_steps=2))
    job = OffloadEngine(stack(), batches, PlainOffload(), num_steps=NUM_STEPS, learning_rate=1.0).job
    assert job.param_bytes == 4
    for found, width in ((whole, 0), (squares, 12)):
        assert found.log.num_bytes["down"] == found.log.num_bytes["up"] == NUM_STEPS * sent_bytes(job, width)
    assert learnt.log.num_bytes["up"] == NUM_STEPS * sent_bytes(job, 12)
    assert learnt.log.num_bytes["down"] == learnt.log.num_bytes["up"] + learnt.projector_bytes
    assert learnt.host_bytes == 2 * sent_bytes(job, 12)


def test_a_link_takes_the_time_of_its_rate_and_really_copies() -> None:
    now_s, slept = [0.0], []

    def sleep(left_s: float) -> None:
        slept.append(left_s)
        now_s[0] += left_s

    link = Link(torch.device("cpu"), 1000.0, clock=lambda: now_s[0], sleep=sleep)
    sent = [torch.ones(100), torch.ones(25)]
    arrived = link.send(sent)
    assert slept == [pytest.approx(0.5)]
    assert link.num_bytes == 500
    sent[0].zero_()
    assert float(arrived[0].sum()) == 100


def test_transfers_and_passes_overlap_and_no_lane_does_two_things_at_once() -> None:
    rates = Rates(down_bytes_per_s=2e6, up_bytes_per_s=2e6)
    found = train(stack(num_layers=5), PlainOffload(order="layers"), rates=rates)
    for lane in LANES:
        ran = sorted((one for one in found.log.ran if one.op.lane == lane), key=lambda one: one.start_s)
        assert all(before.end_s <= after.start_s for before, after in pairwise(ran))
    down = [one for one in found.log.ran if one.op.lane == "down"]
    up = [one for one in found.log.ran if one.op.lane == "up"]
    assert any(a.start_s < b.end_s and b.start_s < a.end_s for a in down for b in up)


def test_projectors_are_sent_as_they_are() -> None:
    pair = Pair.random(torch.zeros(24, 40), 12, 4, torch.Generator().manual_seed(0))
    parcel = {"w": torch.zeros(12, 12), **packed({"w": pair})}
    arrived = unpacked(parcel)["w"]
    assert torch.equal(arrived.left.places, pair.left.places)
    assert torch.equal(arrived.right.values, pair.right.values)
    assert sum(one.numel() * one.element_size() for one in parcel.values()) == 12 * 12 * 4 + pair.num_bytes


# The host ------------------------------------------------------------------------------------------------------------


def test_moments_are_carried_over_to_new_projectors() -> None:
    g = torch.Generator().manual_seed(0)
    old, new = (Pair.random(torch.zeros(20, 30), 10, 4, g) for _ in range(2))
    adam = HostAdam(1e-3)
    adam.update("w", torch.randn(10, 10, generator=g), 0)
    before = adam.moments["w"]
    first, second = before.first.clone(), before.second.clone()
    adam.carry("w", old, new)
    eye = torch.eye(10)
    left = new.left.shrink(old.left.grow(eye))  # P1'P
    right = old.right.shrink(new.right.grow(eye))  # Q'Q1
    torch.testing.assert_close(adam.moments["w"].first, left @ first @ right)
    torch.testing.assert_close(adam.moments["w"].second, left**2 @ second @ right**2)
    assert bool((adam.moments["w"].second >= 0).all())
    adam.carry("nobody", old, new)


def test_the_host_adam_is_that_of_torch() -> None:
    weight = torch.randn(5, 4)
    plain, ours = nn.Parameter(weight.clone()), weight.clone()
    optimizer, adam = torch.optim.Adam([plain], lr=0.1), HostAdam(0.1)
    for step in range(5):
        gradient = torch.randn(5, 4)
        plain.grad = gradient.clone()
        optimizer.step()
        ours -= adam.update("w", gradient, step)
    torch.testing.assert_close(ours, plain.detach())


# Learning ------------------------------------------------------------------------------------------------------------


def test_training_through_squares_learns() -> None:
    found = train(stack(), LspOffload(width=16, learn_steps=20), lambda step: batches(0), num_steps=40)
    assert found.losses[-1] < 0.7 * found.losses[0]
    assert not found.report.num_refused


def test_projectors_learnt_on_a_gradient_fit_the_next_better_than_random_ones() -> None:
    device = DeviceSide(stack(), batches, Begin("j", 16, 8, alpha=0.0, learn_steps=40, beta=1e-4))
    for layer in range(3):
        device.forward(layer, 0)
    device.backward(2)
    random_frac = device.bias_frac(2)
    assert device.learn(2) < 0.5 * random_frac


def test_rivals_train_too() -> None:
    lora, num_bytes = train_lora(tiny_llama(), sentences, num_steps=3, learning_rate=1e-2, rank=2)
    layer = tiny_llama().model.layers[0]
    assert num_bytes == 2 * 4 * 4 * 2 * sum(sum(one.shape) for one in matrices(layer).values())
    model = DecoderLayers(tiny_llama())
    galore = GaLore(model, rank=4, learning_rate=1e-2, num_steps=30, every_steps=10)
    losses = galore.train(lambda step: sentences(0))
    assert len(lora) == 3
    assert losses[-1] < losses[0]
    narrow = sum(4 * min(one.shape) + 8 * max(one.shape) for one in matrices(layer).values())
    assert galore.num_bytes == 2 * 4 * (narrow + 2 * sum(one.numel() for one in small(layer).values()))


def test_galore_moves_within_its_subspace_by_the_steps_of_adam() -> None:
    model = stack(num_layers=1)
    before = weights(model)[0]
    GaLore(model, rank=4, learning_rate=1e-2, num_steps=1, scale=0.5).train(batches)
    change = before - weights(model)[0]
    assert int(torch.linalg.matrix_rank(change, rtol=1e-4)) == 4
    # Adam's first step is the sign of what it sees, in every element of the 4 x 40 of the subspace.
    assert float(change.norm()) == pytest.approx(0.5 * 1e-2 * (4 * 40) ** 0.5, rel=1e-2)


def test_rates_are_measured() -> None:
    found = measured(stack(), batches(0), down_bytes_per_s=1e6, up_bytes_per_s=2e6)
    assert found.backward_s == pytest.approx(2 * found.forward_s)
    assert found.up_bytes_per_s == 2e6
    assert min(found.forward_s, found.params_per_s, found.memory_bytes_per_s) > 0


# What goes wrong -----------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_all_threads_with_a_clear_error() -> None:
    def feed(step: int) -> Tensor:
        return batches(step) * (float("nan") if step == 3 else 1.0)

    with pytest.raises(EngineError, match=r"the loss must be finite, got .* in step 3"):
        train(stack(), PlainOffload(order="layers"), feed)


class Idle:
    """A policy that does nothing."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def decide(self, event: Event, view: OffloadView) -> Iterator[Action]:
        yield from ()


class Broken(Idle):
    """A policy that fails in the middle."""

    def decide(self, event: Event, view: OffloadView) -> Iterator[Action]:
        if view.under_way is not None and view.under_way.num_done(1, "apply"):
            raise ValueError("no more")
        yield from PlainOffload().decide(event, view)


def test_a_policy_that_does_nothing_or_fails_is_an_error_and_no_deadlock() -> None:
    with pytest.raises(EngineError, match="nothing runs after Arrived"):
        train(stack(), Idle())
    with pytest.raises(EngineError, match="no more"):
        train(stack(), Broken())


@pytest.mark.parametrize("others", [{"num_steps": 0}, {"learning_rate": 0.0}])
def test_numbers_out_of_range_are_named(others: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="num_steps must be >= 1"):
        train(stack(), PlainOffload(), **others)


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    train(stack(), PlainOffload())
    assert torch.get_num_threads() == before
