"""How many experts of a mixture a step has to read: tokens share them, and some are visited more than others."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt


class Coverage:
    """Expected number of distinct experts that so many tokens visit.

    An expert of rank r is visited by one token with probability q_r: proportional to ``r ** -skew``, summing to the
    experts that a token visits, and never above one (what a capped expert cannot take goes to the others in
    proportion). Tokens choose independently: ``distinct(n) = sum over r of 1 - (1 - q_r) ** n``. Skew 0 is balanced.

    Parameters
    ----------
    num_experts : int
        How many there are, >= 1.
    experts_per_token : int
        How many a token visits, 1 to `num_experts`.
    skew : float
        Exponent, >= 0.
    """

    def __init__(self, num_experts: int, experts_per_token: int, skew: float = 0.0) -> None:
        self.num_experts = num_experts
        self.experts_per_token = experts_per_token
        self.skew = skew
        visited = visit_probabilities(num_experts, experts_per_token, skew)
        self._log_missed = np.log1p(-np.minimum(visited, 1 - 1e-12))
        self._known: dict[int, float] = {0: 0.0}

    def distinct(self, num_tokens: int) -> float:
        """Return the expected number of experts that at least one of the tokens visits."""
        if (known := self._known.get(num_tokens)) is None:
            known = self._known[num_tokens] = float(-np.expm1(num_tokens * self._log_missed).sum())
        return known


@cache
def visit_probabilities(num_experts: int, experts_per_token: int, skew: float) -> npt.NDArray[np.float64]:
    """Return the probability that a token visits each expert, most visited first; they sum to `experts_per_token`."""
    weight = np.arange(1, num_experts + 1, dtype=np.float64) ** -skew
    num_sure = 0
    while num_sure < experts_per_token:
        left = (experts_per_token - num_sure) * weight / weight[num_sure:].sum()
        if left[num_sure] <= 1:
            break
        num_sure += 1
    if num_sure == experts_per_token:
        left = np.zeros(num_experts)
    return np.concatenate([np.ones(num_sure), left[num_sure:]])
