"""What runs side by side on one accelerator does to each other: one law for steps in lanes and for fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.nouns import Seconds

Alone = tuple[Seconds, float]
"""What something takes alone at its share of the compute, in seconds, and the share of the bandwidth that it draws."""


def slowed(alone: Sequence[Alone], disturb_frac: float = 0.0) -> list[Seconds]:
    """Return how long each takes while all of them run.

    Arithmetic is divided by the shares, memory bandwidth is not: those that together would read more than the memory
    delivers slow each other down, each by as much as it reads. Below that they disturb each other where they meet in
    caches and banks: each by `disturb_frac` of its own reads times those of the others.
    """
    reads_all = sum([reads for _, reads in alone])
    excess = max(0.0, reads_all - 1.0)
    if not disturb_frac:
        return [alone_s * (1.0 + excess * reads) for alone_s, reads in alone]
    return [alone_s * (1.0 + reads * (excess + disturb_frac * (reads_all - reads))) for alone_s, reads in alone]


def ends_of_two(first: Alone, second: Alone, disturb_frac: float = 0.0) -> tuple[Seconds, Seconds]:
    """Return when each of two that begin together is over; who is left goes on at its own share, undisturbed."""
    first_s, second_s = slowed((first, second), disturb_frac)
    if first_s <= second_s:
        return first_s, first_s + (1.0 - first_s / second_s) * second[0]
    return second_s + (1.0 - second_s / first_s) * first[0], second_s
