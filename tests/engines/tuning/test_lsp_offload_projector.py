"""Sparse projectors equal dense matrices, have right gradients, and learn to lower the bias."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from headway.engines.tuning.lsp_offload_projector import Pair, SparseProjector, learn


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dense(projector: SparseProjector) -> Tensor:
    """The same matrix with its zeros written out."""
    found = projector.values.new_zeros(len(projector.places), projector.width)
    return found.scatter_add_(1, projector.places, projector.values.detach())


def low_rank(rows: int, columns: int, rank: int, seed: int = 0) -> Tensor:
    """A matrix as gradients are: of low rank, with noise."""
    g = dice(seed)
    found = torch.randn(rows, rank, generator=g) @ torch.randn(rank, columns, generator=g)
    return found + 0.05 * rank**0.5 * torch.randn(rows, columns, generator=g)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 20), st.integers(1, 6), st.integers(1, 12), st.integers(0, 1000)
)  # fmt: skip
def test_both_products_equal_those_of_the_dense_matrix(
    rows: int, width: int, nonzeros: int, columns: int, seed: int
) -> None:
    g = dice(seed)
    projector = SparseProjector.random(rows, width, nonzeros, g, torch.zeros(0, dtype=torch.float64))
    full = dense(projector)
    assert int((full != 0).sum()) == rows * min(nonzeros, width)  # distinct places
    tall = torch.randn(rows, columns, generator=g, dtype=torch.float64)
    short = torch.randn(width, columns, generator=g, dtype=torch.float64)
    torch.testing.assert_close(projector.shrink(tall), full.T @ tall)
    torch.testing.assert_close(projector.grow(short), full @ short)
    other = SparseProjector.random(rows, 5, 2, g, tall)
    torch.testing.assert_close(projector.onto(other), full.T @ dense(other))


def test_gradients_of_the_values_are_right() -> None:
    g = dice(1)
    places = torch.rand(9, 6, generator=g).topk(3, dim=1).indices
    values = torch.randn(9, 3, generator=g, dtype=torch.float64, requires_grad=True)
    tall = torch.randn(9, 4, generator=g, dtype=torch.float64, requires_grad=True)
    short = torch.randn(6, 4, generator=g, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, x: SparseProjector(places, v, 6).shrink(x), (values, tall))
    assert torch.autograd.gradcheck(lambda v, y: SparseProjector(places, v, 6).grow(y), (values, short))


@pytest.mark.parametrize("shape", [(24, 10), (10, 24), (16, 16)])
def test_a_pair_compresses_and_decompresses_from_both_sides(shape: tuple[int, int]) -> None:
    g = dice(2)
    weight = torch.randn(*shape, generator=g, dtype=torch.float64)
    pair = Pair.random(weight, 6, 3, g)
    left, right = dense(pair.left), dense(pair.right)
    torch.testing.assert_close(pair.compress(weight), left.T @ weight @ right)
    square = torch.randn(6, 6, generator=g, dtype=torch.float64)
    torch.testing.assert_close(pair.decompress(square), left @ square @ right.T)
    torch.testing.assert_close(pair.bias(weight), left @ left.T @ weight @ right @ right.T - weight)


def test_memory_does_not_grow_with_the_width() -> None:
    weight = torch.zeros(64, 128)
    assert Pair.random(weight, 16, 4, dice()).num_bytes == Pair.random(weight, 48, 4, dice()).num_bytes
    assert Pair.random(weight, 16, 4, dice()).num_bytes == (64 + 128) * 4 * (4 + 4)


def test_a_learnt_pair_has_far_less_bias_than_a_random_one_on_its_gradient_and_on_the_next() -> None:
    g = dice(3)
    basis = torch.randn(8, 96, generator=g)
    first, second = (torch.randn(64, 8, generator=g) @ basis for _ in range(2))  # equal row space
    pair = Pair.random(first, 32, 8, g)
    before = [float(pair.bias(one).norm() / one.norm()) for one in (first, second)]
    assert learn(pair, first, alpha=0.0, num_steps=60, beta=1e-4) == 60
    after = [float(pair.bias(one).norm() / one.norm()) for one in (first, second)]
    assert after[0] < 0.2 * before[0]
    assert after[1] < 0.5 * before[1]
    assert not pair.left.values.requires_grad


def test_learning_ends_at_alpha_and_does_nothing_for_no_gradient() -> None:
    gradient = low_rank(48, 64, 4)
    pair = Pair.random(gradient, 24, 8, dice())
    num = learn(pair, gradient, alpha=0.8, num_steps=100, beta=1e-4)
    assert 0 < num < 100
    assert float(pair.bias(gradient).norm() / gradient.norm()) <= 0.8 + 1e-5
    assert learn(pair, gradient, alpha=0.8, num_steps=100, beta=1e-4) == 0
    assert learn(pair, torch.zeros(48, 64), alpha=0.1, num_steps=100, beta=0.0) == 0


def test_more_nonzeros_learn_a_smaller_bias() -> None:
    gradient, found = low_rank(64, 96, 8), []
    for nonzeros in (1, 4, 12):
        pair = Pair.random(gradient, 32, nonzeros, dice(4))
        learn(pair, gradient, alpha=0.0, num_steps=60, beta=1e-4)
        found.append(float(pair.bias(gradient).norm() / gradient.norm()))
    assert found[0] > found[1] > found[2]
