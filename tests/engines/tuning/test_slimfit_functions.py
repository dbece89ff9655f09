"""Slim layers against plain ones: the same forward, and gradients as near as what is kept allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from headway.core.errors import ConfigError
from headway.engines.tuning.slimfit_attention import SlimAttention, attend
from headway.engines.tuning.slimfit_fixed import GELU_INPUT, OPERAND, PROBABILITY, Fixed
from headway.engines.tuning.slimfit_functions import SlimDropout, SlimGelu, SlimLayerNorm, SlimLinear
from headway.engines.tuning.slimfit_units import SavedBytes


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def slim_call(function: Any, *inputs: Any) -> Tensor:
    return function.apply(*inputs)  # type: ignore[no-any-return]


def gradients(out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    weights = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(9))
    return torch.autograd.grad((out * weights).sum(), inputs)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([OPERAND, GELU_INPUT, PROBABILITY, Fixed(1, 2)]),
    st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=33),
)
def test_fixed_point_is_rounded_and_clamped(form: Fixed, values: list[float]) -> None:
    given_values = torch.tensor(values)
    kept = form.keep(given_values)
    back = form.restore(kept, given_values.shape, torch.float32)
    unit = 2.0**form.fraction_bits
    assert torch.equal(back, torch.clamp(torch.round(given_values * unit), form.least, form.most) / unit)
    assert kept.element_size() == 1
    assert kept.numel() == (len(values) if form.num_bits > 4 else (len(values) + 1) // 2)


def test_formats_have_the_published_bits() -> None:
    assert (OPERAND.num_bits, OPERAND.least, OPERAND.most) == (8, -128, 127)
    assert (GELU_INPUT.num_bits, GELU_INPUT.least, GELU_INPUT.most) == (4, -8, 7)
    assert (PROBABILITY.num_bits, PROBABILITY.least, PROBABILITY.most) == (8, 0, 255)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5)])
def test_a_trained_linear_layer_is_exact(shape: tuple[int, ...]) -> None:
    inputs = numbers(*shape), numbers(4, 5, seed=1), numbers(4, seed=2)
    assert torch.autograd.gradcheck(lambda *given: slim_call(SlimLinear, *given, False), inputs)
    assert torch.equal(slim_call(SlimLinear, *inputs, False), nn.functional.linear(*inputs))


def test_a_frozen_linear_layer_passes_gradients_on_and_keeps_nothing() -> None:
    input, weight, bias = numbers(3, 5), numbers(4, 5, seed=1), numbers(4, seed=2)
    frozen = weight.detach()
    with SavedBytes([frozen]) as saved:
        out = slim_call(SlimLinear, input, frozen, bias, False)
    assert saved.num_bytes == 0
    of_input, of_bias = gradients(out, input, bias)
    plain = gradients(nn.functional.linear(input, weight, bias), input, bias)
    torch.testing.assert_close((of_input, of_bias), plain)


def test_a_wide_input_is_kept_in_bytes() -> None:
    input, weight = numbers(6, 8), numbers(4, 8, seed=1)
    with SavedBytes([weight]) as saved:
        out = slim_call(SlimLinear, input, weight, None, True)
    assert saved.num_bytes == 6 * 8
    of_input, of_weight = gradients(out, input, weight)
    rounded = (input.detach() * 16).round().clamp(-128, 127) / 16
    plain_input, plain_weight = gradients(nn.functional.linear(rounded.requires_grad_(), weight), rounded, weight)
    torch.testing.assert_close((of_input, of_weight), (plain_input, plain_weight))


def test_a_slice_is_kept_without_what_it_was_cut_from() -> None:
    whole, weight = numbers(4, 10, 8), numbers(3, 8, seed=1)
    with SavedBytes([weight]) as saved:
        slim_call(SlimLinear, whole[:, 0], weight, None, False)
    assert saved.num_bytes == 4 * 8 * 8


def test_a_trained_layer_norm_is_exact() -> None:
    input, weight, bias = numbers(2, 3, 8), numbers(8, seed=1), numbers(8, seed=2)
    assert torch.autograd.gradcheck(lambda *given: slim_call(SlimLayerNorm, *given, 1e-5), (input, weight, bias))
    plain = nn.functional.layer_norm(input, (8,), weight, bias, 1e-5)
    torch.testing.assert_close(slim_call(SlimLayerNorm, input, weight, bias, 1e-5), plain)


def test_a_frozen_layer_norm_uses_the_largest_tenth() -> None:
    input, weight = numbers(4, 5, 20), numbers(20, seed=1).detach()
    with SavedBytes([weight]) as saved:
        out = slim_call(SlimLayerNorm, input, weight, None, 1e-5)
    assert saved.num_bytes == 40 * (8 + 4) + 20 * 8  # values and places of a tenth, a deviation for each row
    (found,) = gradients(out, input)
    normal = nn.functional.layer_norm(input.detach(), (20,), eps=1e-5)
    least = normal.abs().flatten().topk(40).values.min()
    sparse = torch.where(normal.abs() >= least, normal, 0.0)
    deviation = (input.detach().var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    scaled = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(9)) * weight
    expected = scaled - scaled.mean(-1, keepdim=True) - sparse * (scaled * sparse).mean(-1, keepdim=True)
    torch.testing.assert_close(found, expected / deviation)
    (exact,) = gradients(nn.functional.layer_norm(input, (20,), weight, eps=1e-5), input)
    assert torch.cosine_similarity(found.flatten(), exact.flatten(), dim=0) > 0.95


def test_the_gradient_of_gelu_is_that_of_the_rounded_input() -> None:
    input = numbers(50)
    with SavedBytes([]) as saved:
        out = slim_call(SlimGelu, input)
    assert saved.num_bytes == 25
    assert torch.equal(out, nn.functional.gelu(input))
    rounded = ((input.detach() * 2).round().clamp(-8, 7) / 2).requires_grad_()
    torch.testing.assert_close(gradients(out, input), gradients(nn.functional.gelu(rounded), rounded))


def test_dropout_keeps_a_byte_each_and_its_mean() -> None:
    input = torch.ones(200, 500, requires_grad=True)
    with torch.random.fork_rng(), SavedBytes([]) as saved:
        torch.manual_seed(0)
        out = slim_call(SlimDropout, input, 0.2)
    assert saved.num_bytes == input.numel()
    assert float(out.detach().mean()) == pytest.approx(1.0, abs=0.01)
    out.sum().backward()
    assert input.grad is not None
    assert torch.equal(input.grad, out.detach())


def plain_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    scores = query @ key.transpose(-1, -2) * scale
    return torch.softmax(scores if mask is None else scores + mask, -1) @ value


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_exact_forward_and_close_backward(masked: bool) -> None:
    query, key, value = (numbers(2, 3, 9, 8, seed=seed) for seed in range(3))
    mask = torch.zeros(2, 1, 9, 9, dtype=torch.float64)
    mask[..., 6:] = torch.finfo(torch.float64).min
    chosen = mask if masked else None
    with SavedBytes([]) as saved:
        out = slim_call(SlimAttention, query, key, value, chosen, 0.3, 0.0)
    assert saved.num_bytes == 3 * 2 * 3 * 9 * 8 + 2 * 3 * 9 * 9
    torch.testing.assert_close(out, plain_attention(query, key, value, chosen, 0.3))
    found = gradients(out, query, key, value)
    exact = gradients(plain_attention(query, key, value, chosen, 0.3), query, key, value)
    for ours, theirs in zip(found, exact, strict=True):
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.999
    if masked:
        assert not found[1][:, :, 6:].any()


def test_attention_on_numbers_that_eight_bits_hold_is_exact() -> None:
    query, key, value = ((numbers(1, 2, 4, 4, seed=s).detach() * 16).round() / 16 for s in range(3))
    inputs = [one.requires_grad_() for one in (query * 0, key, value)]  # equal scores: softmax is 1/4 everywhere
    found = gradients(slim_call(SlimAttention, *inputs, None, 0.5, 0.0), *inputs)
    exact = gradients(plain_attention(*inputs, None, 0.5), *inputs)
    torch.testing.assert_close(found, exact)


def test_dropout_in_attention_drops_the_same_forward_and_backward() -> None:
    query, key = (torch.zeros(1, 1, 4, 2) for _ in range(2))
    value = torch.eye(4).expand(1, 1, 4, 4).clone().requires_grad_()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        out = slim_call(SlimAttention, query, key, value, None, 1.0, 0.5)
    weights = out.detach()[0, 0]  # values are unit vectors
    assert set(weights.flatten().tolist()) == {0.0, 0.5}
    (of_value,) = torch.autograd.grad(out.sum(), value)
    torch.testing.assert_close(of_value[0, 0, :, 0], weights.sum(0))


def test_keys_may_serve_several_heads() -> None:
    query, key, value = numbers(1, 4, 5, 8), numbers(1, 2, 5, 8, seed=1), numbers(1, 2, 5, 8, seed=2)
    out, _ = attend(nn.Module(), query, key, value, None)
    wide = (one.repeat_interleave(2, 1) for one in (key, value))
    torch.testing.assert_close(out, plain_attention(query, *wide, None, 8**-0.5).transpose(1, 2))
    with pytest.raises(ConfigError, match="plain softmax"):
        attend(nn.Module(), query, key, value, None, softcap=30.0)
