"""Who can be promised a place: the dynamic program of SLOs-Serve over deadlines, memory and tiers.

Source: "SLOs-Serve: Optimized Serving of Multi-SLO LLMs", arXiv 2504.08784. Requests are gone through by the deadline
of their first token; a state is how much memory and how many decodes of each tier have been promised to new ones, and
its worth is the largest surplus of prompt tokens that can have been computed by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Seconds

Floats = NDArray[np.float64]

BUCKETS = 64
"""The memory is counted in so many parts."""


class Ask(NamedTuple):
    """Somebody who has yet to begin decoding.

    Parameters
    ----------
    due_s : float
        In how many seconds the first token is due, >= 0.
    prefill_tokens : float
        What is left of its prompt, >= 0.
    tier : int
        Of its decodes.
    blocks : int
        Memory for all of it; of no account for those who have been promised a place.
    kept : bool
        Whether it has been promised a place already.
    """

    due_s: Seconds
    prefill_tokens: float
    tier: int
    blocks: int
    kept: bool


def counts(asks: Sequence[Ask], num_tiers: int) -> tuple[list[int], list[int]]:
    """Return how many there are in each tier, of those who have been promised a place and of the others."""
    kept, new = [0] * num_tiers, [0] * num_tiers
    for ask in asks:
        (kept if ask.kept else new)[ask.tier] += 1
    return kept, new


def choose(asks: Sequence[Ask], rates: Floats, free_blocks: int) -> list[bool]:
    """Return who of those who ask is given a place: as many as possible, and of these the ones that leave most over.

    Those who have been promised one keep it. If they will be late whatever happens, nobody may make them later.

    Parameters
    ----------
    asks : sequence of Ask
        By deadline.
    rates : ndarray
        Prompt tokens per second that can be computed when so many more than now decode, `[more in tier 1, ...]`, each
        dimension as long as there are asks of that tier, and one; negative when so many decodes are too many.
    free_blocks : int
        Memory that nobody was promised.

    Returns
    -------
    list of bool
        One for each ask.
    """
    num_tiers = rates.ndim
    kept, new = counts(asks, num_tiers)
    block, fits = max(1.0, free_blocks / BUCKETS), free_blocks > 0
    surplus = np.full((BUCKETS + 1 if fits else 1, *(num + 1 for num in new)), -np.inf)
    base = (0,) * surplus.ndim
    surplus[base] = 0.0
    begun, now_s = [0] * num_tiers, 0.0
    taken: list[NDArray[np.bool_] | None] = []
    steps: list[int] = []
    for ask in asks:
        here = rates[tuple(slice(num, num + more + 1) for num, more in zip(begun, new, strict=True))]
        surplus = surplus + np.maximum(here, 0.0) * (ask.due_s - now_s)
        now_s = ask.due_s
        if ask.kept:
            surplus = _serve(surplus, ask, base)
            begun[ask.tier] += 1
            taken.append(None)
            steps.append(0)
            continue
        need = int(np.ceil(ask.blocks / block)) if ask.blocks else 0
        with_it = _shifted(surplus, need, ask.tier) - ask.prefill_tokens
        with_it[with_it < 0] = -np.inf
        takes = with_it > surplus
        surplus = np.where(takes, with_it, surplus)
        taken.append(takes)
        steps.append(need)
    return _back(asks, taken, steps, _best(surplus, rates[tuple(slice(num, None) for num in kept)]))


def _serve(surplus: Floats, ask: Ask, base: tuple[int, ...]) -> Floats:
    """Pay for one who was promised a place; what cannot be paid even without new ones is forgiven to all."""
    left = surplus - ask.prefill_tokens
    left = left - min(0.0, float(left[base]))
    left[left < 0] = -np.inf
    return left


def _shifted(surplus: Floats, need: int, tier: int) -> Floats:
    """Return the surplus of states before somebody was taken who needs so much memory in that tier."""
    found = np.full_like(surplus, -np.inf)
    if need >= surplus.shape[0]:
        return found
    to = [slice(None)] * surplus.ndim
    since = [slice(None)] * surplus.ndim
    to[0], since[0] = slice(need, None), slice(None, surplus.shape[0] - need)
    to[tier + 1], since[tier + 1] = slice(1, None), slice(None, -1)
    found[tuple(to)] = surplus[tuple(since)]
    return found


def _best(surplus: Floats, last: Floats) -> tuple[int, ...]:
    """Return the state with most new ones of those whose decodes can go on for ever."""
    sustained = last >= 0
    sustained[(0,) * last.ndim] = True
    worth = np.where(sustained, surplus.max(axis=0), -np.inf)
    num = np.indices(worth.shape).sum(axis=0)
    possible = np.isfinite(worth)
    most = num[possible].max()
    worth = np.where(possible & (num == most), worth, -np.inf)
    tiers = np.unravel_index(int(np.argmax(worth)), worth.shape)
    places = tuple(int(num) for num in tiers)
    return int(np.argmax(np.moveaxis(surplus, 0, -1)[places])), *places


def _back(
    asks: Sequence[Ask], taken: Sequence[NDArray[np.bool_] | None], steps: Sequence[int], state: tuple[int, ...]
) -> list[bool]:
    """Follow a state back to the beginning."""
    found = [True] * len(asks)
    at = list(state)
    for index in range(len(asks) - 1, -1, -1):
        takes = taken[index]
        if takes is None:
            continue
        found[index] = bool(takes[tuple(at)])
        if found[index]:
            at[0] -= steps[index]
            at[asks[index].tier + 1] -= 1
    return found
