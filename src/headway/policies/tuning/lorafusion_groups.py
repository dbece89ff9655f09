"""Which adapters share microbatches: two at most, and only where enough others lie between their global batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from headway.core.nouns import Id
from headway.policies.tuning.lorafusion_nouns import Lengths


class Needs(Struct, frozen=True):
    """What a global batch of an adapter needs: tokens in the mean, and in the mean less some standard deviations."""

    mean_tokens: float
    least_tokens: float


def needs_of(lengths: Lengths, k_sigma: float) -> Needs:
    """Return what a global batch needs, from the lengths of all examples."""
    flat = [tokens for batch in lengths for tokens in batch]
    if not flat:
        return Needs(0.0, 0.0)
    mean = sum(flat) / len(flat)
    sigma = math.sqrt(sum([(tokens - mean) ** 2 for tokens in flat]) / len(flat))
    size = len(flat) / len(lengths)
    return Needs(size * mean, size * max(0.0, mean - k_sigma * sigma))


def grouped(
    lengths: Mapping[Id, Lengths], capacity_tokens: int, num_stages: int, *, k_sigma: float, max_group: int
) -> list[tuple[Id, ...]]:
    """Form groups of adapters, those with many tokens per global batch with those that have few.

    While a group's optimizer steps are on their way through the pipeline, the other groups have to fill it: they must
    have at least one microbatch less than there are stages, by a cautious count.

    Parameters
    ----------
    lengths : mapping of str to lengths
        Of the examples of each adapter.
    capacity_tokens, num_stages : int
        Of the pipeline.
    k_sigma : float
        By how many standard deviations of the lengths a cautious count is below the mean, >= 0.
    max_group : int
        1 leaves each adapter alone; 2 is the paper's.
    """
    needs = {job: needs_of(one, k_sigma) for job, one in lengths.items()}
    order = sorted(needs, key=lambda job: -needs[job].mean_tokens)
    alone: list[tuple[Id, ...]] = [(job,) for job in order]
    least = {job: math.ceil(one.least_tokens / capacity_tokens) for job, one in needs.items()}

    def is_covered(group: Sequence[Id]) -> bool:
        return sum([least[job] for job in order if job not in group]) >= num_stages - 1

    if max_group < 2 or not all(is_covered(group) for group in alone):
        return alone
    found: list[tuple[Id, ...]] = []
    while order_left := [job for job in order if not any(job in group for group in found)]:
        head, tail = order_left[0], order_left[-1]
        found.append((head, tail) if head != tail and is_covered((head, tail)) else (head,))
    return found
