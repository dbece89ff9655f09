from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engines.llm.native import Kernels, WeightKind, kernels

SHAPES = [(1, 32, 32), (1, 130, 70), (3, 33, 65), (8, 96, 256), (15, 257, 131), (33, 64, 2500), (150, 70, 48)]
KINDS: list[WeightKind] = ["float32", "bfloat16", "int8"]
TYPES = [torch.float32, torch.bfloat16]


def _error(kind: WeightKind, dtype: torch.dtype) -> float:
    """Return the largest deviation to accept, in standard deviations of the result."""
    rounding = 0.02 if dtype == torch.bfloat16 or kind == "bfloat16" else 1e-5
    return 0.06 if kind == "int8" else rounding


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_product_is_right(either: Kernels, kind: WeightKind, dtype: torch.dtype, shape: tuple[int, int, int]) -> None:
    rows, num_outputs, num_inputs = shape
    x, weight = torch.randn(rows, num_inputs).to(dtype), torch.randn(num_outputs, num_inputs).to(dtype)
    bias = torch.randn(num_outputs).to(dtype)
    packed = either.pack(weight, kind)
    assert (packed.num_outputs, packed.num_inputs, packed.kind) == (num_outputs, num_inputs, kind)
    assert packed.num_bytes >= num_outputs * num_inputs
    exact = x.double() @ weight.double().T + bias.double()
    found = either.linear(x, packed, bias)
    assert found.dtype == dtype
    assert (found.double() - exact).abs().max() < _error(kind, dtype) * num_inputs**0.5


@pytest.mark.parametrize("kind", KINDS)
def test_native_and_twin_round_alike(native: Kernels, twin: Kernels, kind: WeightKind) -> None:
    x, weight = torch.randn(17, 200), torch.randn(100, 200)
    weight[3] = 0.0
    x[5] = 0.0
    one, other = (k.linear(x, k.pack(weight, kind), out_dtype=torch.float32) for k in (native, twin))
    torch.testing.assert_close(
        one, other, rtol=0.01 if kind == "bfloat16" else 1e-5, atol=0.1 if kind == "bfloat16" else 1e-4
    )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_the_same_bits_in_every_company(native: Kernels, kind: WeightKind, dtype: torch.dtype) -> None:
    packed = native.pack(torch.randn(100, 2300).to(dtype), kind)
    x = torch.randn(200, 2300).to(dtype)
    whole = native.linear(x, packed)
    for begin, end in [(0, 1), (1, 3), (7, 21), (21, 36), (40, 72), (72, 200)]:
        assert torch.equal(native.linear(x[begin:end], packed), whole[begin:end])


def test_threads_do_not_change_bits(native: Kernels) -> None:
    packed, x = native.pack(torch.randn(1000, 300)), torch.randn(20, 300)
    before = torch.get_num_threads()
    found = []
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        found.append((native.linear(x, packed), native.argmax_linear(x, packed)))
    torch.set_num_threads(before)
    for linear, best in found[1:]:
        assert torch.equal(linear, found[0][0])
        assert torch.equal(best, found[0][1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_argmax_is_that_of_the_float_outputs(either: Kernels, kind: WeightKind, rows: int) -> None:
    packed, x = either.pack(torch.randn(1013, 96), kind), torch.randn(rows, 96)
    outputs = either.linear(x, packed, out_dtype=torch.float32)
    assert torch.equal(either.argmax_linear(x, packed), outputs.argmax(dim=-1))


def test_lowest_index_wins_a_tie(native: Kernels) -> None:
    weight = torch.zeros(200, 8)
    weight[[37, 38, 150]] = 1.0
    assert native.argmax_linear(torch.ones(2, 8), native.pack(weight)).tolist() == [37, 37]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 30), st.integers(1, 140), st.integers(1, 140), st.sampled_from(KINDS), st.sampled_from(TYPES))
def test_any_size_works(rows: int, num_outputs: int, num_inputs: int, kind: WeightKind, dtype: torch.dtype) -> None:
    own = kernels()
    x, weight = torch.randn(rows, num_inputs).to(dtype), torch.randn(num_outputs, num_inputs).to(dtype)
    found = own.linear(x, own.pack(weight, kind), out_dtype=torch.float32)
    exact = x.double() @ weight.double().T
    assert found.shape == exact.shape
    assert torch.all((found.double() - exact).abs() < 0.1 * num_inputs**0.5 + 0.1)


def test_leading_dimensions_are_kept(either: Kernels) -> None:
    packed = either.pack(torch.randn(12, 6))
    assert either.linear(torch.randn(2, 3, 6), packed).shape == (2, 3, 12)


def test_a_wrong_width_is_one_clear_error(native: Kernels) -> None:
    with pytest.raises(RuntimeError, match=r"linear - x must be \[rows, 6\] - got \[3, 5\]"):
        native.linear(torch.randn(3, 5), native.pack(torch.randn(12, 6)))
