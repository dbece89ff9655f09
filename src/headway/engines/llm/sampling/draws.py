"""Drawing one token per row from logits, given one uniform number per row.

A row's outcome depends on the row and its number alone, never on its neighbours: cut-offs are values (equally likely
tokens stay or go together), and candidates are walked in the order of token ids.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headway.engines.llm.sampling.nucleus import cut_wide

BLOCK = 512
WIDTH = 256
"""So many candidates per row are looked at first; they nearly always suffice, and finding them is cheap."""

BELOW_ONE = 1 - 2**-53


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw from the softmax of every row.

    Parameters
    ----------
    logits : Tensor
        float32 `[rows, vocab]`.
    uniforms : Tensor
        float64 `[rows]`, in [0, 1).

    Returns
    -------
    Tensor
        int64 `[rows]`. A token of probability zero never comes.

    Notes
    -----
    Inverts the distribution function in two stages, blocks then tokens, so that only one block per row is summed token
    by token.
    """
    rows, vocab = logits.shape
    weights = logits.new_zeros(rows, -(-vocab // BLOCK), BLOCK)
    flat = weights.view(rows, -1)[:, :vocab]
    torch.exp(torch.sub(logits, logits.amax(-1, keepdim=True), out=flat), out=flat)
    sums = weights.sum(-1).double()
    ends = sums.cumsum(-1)
    target = uniforms * ends[:, -1] * BELOW_ONE
    block = _first_above(ends, target).clamp(max=sums.shape[1] - 1)
    before = ends.gather(1, block[:, None]) - sums.gather(1, block[:, None])
    inside = weights[torch.arange(rows, device=block.device), block].double().cumsum(-1)
    return (block * BLOCK + _first_above(inside, _within(target - before[:, 0], inside))).clamp(max=vocab - 1)


def draw_likeliest(logits: Tensor, uniforms: Tensor, top_k: Tensor, top_p: Tensor, log_min_p: Tensor) -> Tensor:
    """Draw from the likeliest tokens of every row: the `top_k`, of these the smallest set with a share `top_p`, of
    these all that are at least `min_p` times as likely as the likeliest.

    Parameters
    ----------
    logits, uniforms : Tensor
        As for `draw`.
    top_k : Tensor
        int64 `[rows]`; the vocabulary's size switches it off.
    top_p : Tensor
        float32 `[rows]`, in (0, 1].
    log_min_p : Tensor
        float32 `[rows]`; minus infinity switches it off.
    """
    vocab = logits.shape[1]
    width = min(vocab, WIDTH)
    best, ids = logits.topk(width)
    total = torch.logsumexp(logits, -1) if bool((top_k >= width).any()) else logits.new_zeros(len(logits))
    kth = best.gather(1, (top_k.clamp(max=width) - 1)[:, None])[:, 0]
    cut = _cut(best, kth, total, top_k, top_p, log_min_p)
    tokens = _draw_above(best, ids, cut, uniforms)
    if width < vocab:
        # A nucleus is a share of the top_k (and of what is as likely as the k-th); not all of these may be here.
        unknown = (best[:, -1] >= kth) & (top_k < vocab) & (top_p < 1)
        wide = (unknown | (best[:, -1] >= cut)).nonzero()[:, 0]
        if len(wide):
            kept = cut_wide(logits[wide], top_k[wide], top_p[wide], log_min_p[wide])
            tokens[wide] = draw(kept, uniforms[wide])
    return tokens


def _cut(best: Tensor, kth: Tensor, total: Tensor, top_k: Tensor, top_p: Tensor, log_min_p: Tensor) -> Tensor:
    """Return the smallest logit that stays, float32 `[rows]`, or minus infinity when `best` does not reach that far."""
    width = best.shape[1]
    kept = best.masked_fill(best < kth[:, None], -torch.inf)  # tokens as likely as the k-th stay
    total = torch.where(top_k < width, kept.logsumexp(-1), total)
    shares = (kept - total[:, None]).exp().double()
    wanted = top_p.double().masked_fill(top_p >= 1, torch.inf)  # shares may add up to more than 1 by rounding
    needed = (shares.cumsum(-1) - shares < wanted[:, None]) & (shares > 0)
    last = needed.sum(-1) - 1
    nucleus = best.gather(1, last.clamp(min=0)[:, None])[:, 0]
    short = (top_k >= width) & (last == width - 1)
    return torch.maximum(nucleus.masked_fill(short, -torch.inf), best[:, 0] + log_min_p)


def _draw_above(best: Tensor, ids: Tensor, cut: Tensor, uniforms: Tensor) -> Tensor:
    """Draw among the candidates at or above the cut, walked in the order of their ids."""
    weights = (best - best[:, :1]).exp().double().masked_fill(best < cut[:, None], 0.0)
    ids, order = ids.sort(-1)
    ends = weights.gather(1, order).cumsum(-1)
    place = _first_above(ends, _within(uniforms * ends[:, -1], ends)).clamp(max=ids.shape[1] - 1)
    return ids.gather(1, place[:, None])[:, 0]


def _within(target: Tensor, ends: Tensor) -> Tensor:
    """Keep a target, off by rounding, below the last end and not below zero."""
    return torch.minimum(target.clamp(min=0.0), ends[:, -1] * BELOW_ONE)


def _first_above(ends: Tensor, target: Tensor) -> Tensor:
    """Return the index of the first end above the target, int64 `[rows]`."""
    return torch.searchsorted(ends, target[:, None], right=True)[:, 0]
