"""LoRA as one differentiable function, cut where its tensors are smallest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Run:
    """Rows ``[start, stop)`` that belong to one adapter; `scale` is ``alpha / rank / (1 - dropout)``."""

    start: int
    stop: int
    scale: float


def fused_lora(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    scale: float,
    *,
    keep: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Compute a frozen linear layer and one adapter beside it, over all rows.

    Parameters
    ----------
    x : Tensor
        `[tokens, in]`.
    weight, bias : Tensor
        Of the frozen layer, `[out, in]` and `[out]`; no gradient comes to them.
    a, b : Tensor
        Of the adapter, `[rank, in]` and `[out, rank]`.
    scale : float
        What the adapter is multiplied by, ``alpha / rank``.
    keep : Tensor or None
        Which inputs of the adapter are not dropped, bool `[tokens, in]`; all of them by default.
    dropout : float
        With what probability they were dropped, in [0, 1).

    Returns
    -------
    Tensor
        `[tokens, out]`.
    """
    run = Run(0, x.shape[0], scale / (1.0 - dropout))
    return fused_multi_lora(x, weight, bias, [run], [a], [b], keep)


def fused_multi_lora(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    runs: Sequence[Run],
    a: Sequence[Tensor],
    b: Sequence[Tensor],
    keep: Tensor | None = None,
) -> Tensor:
    """Compute a frozen linear layer, and beside it adapters, each over rows of its own.

    Parameters
    ----------
    x : Tensor
        `[tokens, in]`.
    weight, bias : Tensor
        Of the frozen layer, `[out, in]` and `[out]`; no gradient comes to them.
    runs : sequence of Run
        Which rows belong to which adapter; rows of none have the frozen layer alone.
    a, b : sequence of Tensor
        Of the adapter of each run, `[rank, in]` and `[out, rank]`; ranks may differ.
    keep : Tensor or None
        Which inputs of the adapters are not dropped, bool `[tokens, in]`; all of them by default.

    Returns
    -------
    Tensor
        `[tokens, out]`.

    Notes
    -----
    Source: Zhu et al., "LoRAFusion: Efficient LoRA Fine-Tuning for LLMs", 2025, arXiv 2510.00206, its section on
    kernels. With ``S = dropout(x) A`` the layer is ``y = x W + s S B``. Only S, a few numbers per token, is kept
    between the parts, so that nothing is computed twice and nothing large is written for the adapter's sake: S B is
    added where x W lies, and in backward dS A where dy W lies.

    Faithful to the paper: where the graph is cut, what is kept (x, the mask, S), that a run of rows belongs to one
    adapter. Changed: here these are matrix products of a library that add to their output, on any device; the paper
    writes kernels of its own for a GPU, in which dropout and the product with A are one, too. Their speed cannot be
    seen here; what this function saves is counted in `headway.engines.tuning.lorafusion_traffic`.
    """
    return _Fused.apply(x, weight, bias, keep, tuple(runs), *a, *b)  # type: ignore[no-any-return, no-untyped-call]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        keep: Tensor | None,
        runs: tuple[Run, ...],
        *ab: Tensor,
    ) -> Tensor:
        y = torch.nn.functional.linear(x, weight, bias)
        small = []
        for run, a, b in zip(runs, ab[: len(runs)], ab[len(runs) :], strict=True):
            s = _kept(x, keep, run) @ a.t().to(x.dtype)
            y[run.start : run.stop].addmm_(s, b.t().to(x.dtype), alpha=run.scale)
            small.append(s)
        ctx.runs, ctx.has_mask = runs, keep is not None
        ctx.save_for_backward(x, weight, *([keep] if keep is not None else []), *ab, *small)
        return y

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *rest = ctx.saved_tensors
        keep = rest.pop(0) if ctx.has_mask else None
        num = len(ctx.runs)
        dx = dy @ weight if ctx.needs_input_grad[0] else None
        da: list[Tensor | None] = []
        db: list[Tensor | None] = []
        for run, a, b, s in zip(ctx.runs, rest[:num], rest[num : 2 * num], rest[2 * num :], strict=True):
            dy_run = dy[run.start : run.stop]
            ds = (dy_run @ b.to(dy.dtype)).mul_(run.scale)
            db.append((s.t() @ dy_run).t().mul(run.scale).to(b.dtype))
            da.append((ds.t() @ _kept(x, keep, run)).to(a.dtype))
            if dx is not None:
                _add(dx[run.start : run.stop], ds, a.to(dy.dtype), keep, run)
        return (dx, None, None, None, None, *da, *db)


def _kept(x: Tensor, keep: Tensor | None, run: Run) -> Tensor:
    """Return the rows of a run, those inputs zero that are dropped; `scale` makes up for them."""
    rows = x[run.start : run.stop]
    return rows if keep is None else rows * keep[run.start : run.stop]


def _add(dx: Tensor, ds: Tensor, a: Tensor, keep: Tensor | None, run: Run) -> None:
    if keep is None:
        dx.addmm_(ds, a)
    else:
        dx.addcmul_(ds @ a, keep[run.start : run.stop].to(dx.dtype))
