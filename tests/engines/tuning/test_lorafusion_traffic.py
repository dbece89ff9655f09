"""Bytes counted by hand, and what the fused function saves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headway.engines.tuning.lorafusion_function import fused_lora
from headway.engines.tuning.lorafusion_traffic import kept_bytes, traffic_of

TOKENS, IN, OUT, RANK = 256, 96, 160, 4


@pytest.fixture
def weights() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x, weight = torch.randn(TOKENS, IN, requires_grad=True), torch.randn(OUT, IN)
    return x, weight, torch.randn(RANK, IN, requires_grad=True), torch.randn(OUT, RANK, requires_grad=True)


def plain(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, dropout: float) -> Tensor:
    dropped = torch.nn.functional.dropout(x, dropout) if dropout else x
    return x @ weight.t() + (dropped @ a.t() @ b.t()) * 2.0


def fused(x: Tensor, weight: Tensor, a: Tensor, b: Tensor, dropout: float) -> Tensor:
    keep = torch.empty(x.shape, dtype=torch.bool).bernoulli_(1 - dropout) if dropout else None
    return fused_lora(x, weight, None, a, b, 2.0, keep=keep, dropout=dropout)


def test_a_product_reads_both_sides_and_writes_the_result_and_views_are_free() -> None:
    x, y = torch.randn(3, 5), torch.randn(7, 5)
    assert traffic_of(lambda: x @ y.t()) == 4 * (3 * 5 + 7 * 5 + 3 * 7)


def test_forward_and_backward_of_the_fused_function_move_what_its_parts_move(
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    x, weight, a, b = weights
    forward = traffic_of(lambda: fused(x, weight, a, b, 0.0))
    base = TOKENS * IN + OUT * IN + TOKENS * OUT
    small = TOKENS * IN + RANK * IN + TOKENS * RANK
    onto = TOKENS * OUT + TOKENS * RANK + OUT * RANK + TOKENS * OUT
    assert forward == 4 * (base + small + onto)


@pytest.mark.parametrize(("dropout", "least", "most"), [(0.0, 0.3, 0.45), (0.1, 0.2, 0.4)])
def test_it_moves_less_than_the_plain_formula(
    weights: tuple[Tensor, Tensor, Tensor, Tensor], dropout: float, least: float, most: float
) -> None:
    def both(compute: Callable[..., Tensor]) -> int:
        x, _, a, b = weights
        dy = torch.ones(TOKENS, OUT)
        return traffic_of(lambda: torch.autograd.grad(compute(*weights, dropout), (x, a, b), dy))

    assert least < 1 - both(fused) / both(plain) < most


def test_it_keeps_a_mask_and_the_small_tensor_where_the_plain_formula_keeps_a_copy_of_the_input(
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    ours = kept_bytes(lambda: fused(*weights, 0.1), weights)
    theirs = kept_bytes(lambda: plain(*weights, 0.1), weights)
    assert ours == TOKENS * IN + 4 * TOKENS * RANK
    assert theirs > 4 * TOKENS * IN
