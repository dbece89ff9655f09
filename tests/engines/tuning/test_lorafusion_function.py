"""LoRA in one function: gradients against finite differences, values against the plain formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from headway.engines.tuning.lorafusion_function import Run, fused_lora, fused_multi_lora


def drawn(*shape: int, grad: bool = True) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_(grad)


@pytest.fixture(autouse=True)
def _dice() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_one_adapter_passes_the_check_of_gradients(has_bias: bool, dropout: float) -> None:
    x, weight, a, b = drawn(7, 5), drawn(4, 5, grad=False), drawn(2, 5), drawn(4, 2)
    bias = drawn(4, grad=False) if has_bias else None
    keep = torch.rand(7, 5) >= dropout if dropout else None

    def layer(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return fused_lora(x, weight, bias, a, b, 1.5, keep=keep, dropout=dropout)

    assert torch.autograd.gradcheck(layer, (x, a, b))


def test_several_adapters_of_different_ranks_pass_the_check_of_gradients() -> None:
    x, weight = drawn(9, 5), drawn(4, 5, grad=False)
    keep = torch.rand(9, 5) >= 0.3
    runs = [Run(0, 4, 2.0), Run(4, 7, 0.5)]  # the last two rows belong to nobody
    weights = drawn(2, 5), drawn(3, 5), drawn(4, 2), drawn(4, 3)

    def layer(x: Tensor, *ab: Tensor) -> Tensor:
        return fused_multi_lora(x, weight, None, runs, ab[:2], ab[2:], keep)

    assert torch.autograd.gradcheck(layer, (x, *weights))


def test_values_and_gradients_are_those_of_the_plain_formula() -> None:
    x, weight, bias = drawn(6, 5), drawn(4, 5, grad=False), drawn(4, grad=False)
    a, b = [drawn(2, 5), drawn(3, 5)], [drawn(4, 2), drawn(4, 3)]
    keep = torch.rand(6, 5) >= 0.25
    runs = [Run(0, 2, 2.0 / 0.75), Run(2, 6, 3.0 / 0.75)]
    dropped = x * keep / 0.75
    base = torch.nn.functional.linear(x, weight, bias)
    plain = base + torch.cat([2.0 * dropped[:2] @ a[0].T @ b[0].T, 3.0 * dropped[2:] @ a[1].T @ b[1].T])
    fused = fused_multi_lora(x, weight, bias, runs, a, b, keep)
    torch.testing.assert_close(fused, plain)
    inputs = (x, *a, *b)
    dy = torch.randn_like(plain)
    for ours, theirs in zip(
        torch.autograd.grad(fused, inputs, dy), torch.autograd.grad(plain, inputs, dy), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_no_gradient_is_computed_for_inputs_that_need_none() -> None:
    x, weight, a, b = drawn(3, 5, grad=False), drawn(4, 5, grad=False), drawn(2, 5), drawn(4, 2)
    fused_lora(x, weight, None, a, b, 1.0).sum().backward()
    assert x.grad is None
    assert a.grad is not None
    assert b.grad is not None


def test_only_the_input_the_mask_and_the_small_tensor_are_kept() -> None:
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    x, weight, a, b = drawn(64, 32), drawn(48, 32, grad=False), drawn(2, 32), drawn(48, 2)
    keep = torch.rand(64, 32) >= 0.1
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        fused_lora(x, weight, None, a, b, 1.0, keep=keep, dropout=0.1)
    new = [tensor for tensor in kept if tensor.data_ptr() not in {one.data_ptr() for one in (x, weight, a, b, keep)}]
    assert [tuple(tensor.shape) for tensor in new] == [(64, 2)]


def test_a_half_precision_base_is_adapted_by_full_precision_weights() -> None:
    x, weight = torch.randn(6, 8, dtype=torch.bfloat16), torch.randn(4, 8, dtype=torch.bfloat16)
    a, b = torch.randn(2, 8, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    y = fused_lora(x, weight, None, a, b, 1.0)
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert a.grad is not None
    assert a.grad.dtype == torch.float32
    plain = x.float() @ weight.float().T + x.float() @ a.detach().T @ b.detach().T
    torch.testing.assert_close(y.float(), plain, rtol=0.05, atol=0.2)
