"""Attention over keys and values that lie in several places: each place computes its part, and parts combine exactly.

A part is what softmax attention over some of the keys comes to, with all that is needed to join it to others: the
largest score, the sum of the exponentials of scores below it, and the values weighted by these exponentials. Parts are
kept in float32. How keys are divided changes nothing but the order of additions.

Lin et al., "Infinite-LLM: Efficient LLM Service for Long Context with DistAttention and Distributed KVCache", 2024,
arXiv 2401.02669, calls this DistAttention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Part(NamedTuple):
    """Attention of some queries over some of their keys, in float32.

    Attributes
    ----------
    mixed : Tensor
        Values weighted by ``exp(score - top)``, summed and not divided by anything, `[tokens, heads, dim]`.
    top : Tensor
        The largest score, `[tokens, heads]`; minus infinity where there is no key.
    weight : Tensor
        The sum of ``exp(score - top)``, `[tokens, heads]`; 0 where there is no key.
    """

    mixed: Tensor
    top: Tensor
    weight: Tensor


def attend_part(
    q: Tensor, keys: Tensor, values: Tensor, scale: float, softcap: float = 0.0, visible: Tensor | None = None
) -> Part:
    """Attend with some queries over some of their keys.

    Parameters
    ----------
    q : Tensor
        `[tokens, heads, dim]`; heads are a multiple of the heads of keys (as many, some, or one).
    keys, values : Tensor
        `[keys, kv_heads, dim]`; there may be none.
    scale : float
        Scores are multiplied by it.
    softcap : float
        Scores are bent to stay below it, where it is > 0.
    visible : Tensor or None
        bool `[tokens, keys]`, which key a query may see; all of them by default.
    """
    import torch

    num_tokens, num_heads, _ = q.shape
    num_keys, kv_heads, value_dim = values.shape
    grouped = q.float().view(num_tokens, kv_heads, num_heads // kv_heads, -1)
    scores = torch.einsum("thgd,khd->thgk", grouped, keys.float()) * scale
    if softcap > 0.0:
        scores = softcap * torch.tanh(scores / softcap)
    if visible is not None:
        scores = scores.masked_fill(~visible[:, None, None, :], -torch.inf)
    top = scores.amax(-1) if num_keys else scores.new_full(scores.shape[:-1], -torch.inf)
    # Where nothing is visible the top is minus infinity, and minus infinity less itself is no number.
    exponentials = torch.exp(scores - top.clamp_min(torch.finfo(torch.float32).min).unsqueeze(-1))
    mixed = torch.einsum("thgk,khd->thgd", exponentials, values.float())
    return Part(
        mixed.reshape(num_tokens, num_heads, value_dim),
        top.reshape(num_tokens, num_heads),
        exponentials.sum(-1).reshape(num_tokens, num_heads),
    )


def combine(parts: Sequence[Part]) -> Tensor:
    """Join parts of the same queries to what attention over all of the keys is, `[tokens, heads, dim]` in float32.

    Parts without keys count for nothing; of a query that sees no key in any part, zeros come out.
    """
    import torch

    tops = torch.stack([part.top for part in parts])
    top = tops.amax(0).clamp_min(torch.finfo(torch.float32).min)
    factors = torch.exp(tops - top)
    weight = (factors * torch.stack([part.weight for part in parts])).sum(0)
    mixed = (factors.unsqueeze(-1) * torch.stack([part.mixed for part in parts])).sum(0)
    return mixed / weight.clamp_min(torch.finfo(torch.float32).tiny).unsqueeze(-1)
