"""Which tokens stay when very many do: flat distributions, large top_k. A few passes per row, never a sort of it."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 4096
DEEPEST = 60.0
"""Logits that far below the largest have no share that counts; they are told apart no further."""


def cut_wide(logits: Tensor, top_k: Tensor, top_p: Tensor, log_min_p: Tensor) -> Tensor:
    """Set to minus infinity what top_k, top_p and min_p exclude; for the shapes see `draws`.

    Returns
    -------
    Tensor
        float32 `[rows, vocab]`, `logits` changed in place.
    """
    columns = zip(logits, top_k.tolist(), top_p.tolist(), log_min_p.tolist(), strict=True)
    for row, k, p, floor in columns:
        row.masked_fill_(row < _smallest(row, k, p, floor), -torch.inf)
    return logits


def _smallest(row: Tensor, top_k: int, top_p: float, log_min_p: float) -> Tensor:
    """Return the smallest logit that stays."""
    cut = row.max() + log_min_p
    kept = row
    if top_k < len(row):
        kth = row.kthvalue(len(row) - top_k + 1).values
        kept, cut = row[row >= kth], torch.maximum(cut, kth)
    return torch.maximum(cut, nucleus(kept, top_p)) if top_p < 1 else cut


def nucleus(values: Tensor, top_p: float) -> Tensor:
    """Return the smallest of the fewest logits that have a share `top_p` together.

    Parameters
    ----------
    values : Tensor
        float32 `[n]`, n >= 1, at least one finite.
    top_p : float
        In (0, 1).

    Notes
    -----
    Adds up shares in bins of equal width from the top, and sorts only the bin in which the sum is reached.
    """
    high = values.max()
    low = torch.maximum(values.min(), high - DEEPEST)
    shares = (values - high).exp().double()
    place = BINS - 1 - ((values - low) * (BINS / (high - low).clamp(min=1e-6))).clamp(0, BINS - 1).long()
    own = torch.bincount(place, shares, BINS)
    before = own.cumsum(0) - own
    needed = top_p * own.sum()
    last = ((before < needed) & (own > 0)).nonzero()[-1, 0]
    inside = place == last
    best, order = values[inside].sort(descending=True)
    part = shares[inside][order]
    num_kept = (before[last] + part.cumsum(0) - part < needed).sum()
    return best[num_kept - 1]
