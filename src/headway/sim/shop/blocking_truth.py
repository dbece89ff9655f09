"""Which operations a shop's machines will fail at: drawn in advance, so that every policy meets the same."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Whole = npt.NDArray[np.int64]


class Interruptions(Struct, frozen=True):
    """What happens to the machine of each operation; no policy knows it.

    Parameters
    ----------
    within : array of int, [jobs, operations]
        After how much of the processing time the machine fails; -1 for not at all. The operation resumes afterwards.
    after : array of bool, [jobs, operations]
        Whether the machine is shut down when the operation is over.
    repair : array of int, [jobs, operations]
        How long the machine is then down, >= 1.
    """

    within: Whole
    after: npt.NDArray[np.bool_]
    repair: Whole


def draw(
    duration: Whole,
    fail_prob: float,
    rng: np.random.Generator,
    *,
    when: Literal["within", "after", "either"] = "either",
    most_repair: int = 99,
) -> Interruptions:
    """Draw interruptions that belong to operations rather than to times.

    Equal generators give the same draws for every `fail_prob`, so that what fails at a smaller one fails at a larger
    one, too.

    Parameters
    ----------
    duration : array of int, [jobs, operations]
        Processing times.
    fail_prob : float
        The probability that an operation interrupts its machine, in [0, 1].
    rng : Generator
        For all draws.
    when : str
        ``"within"``: while it runs. ``"after"``: when it is over. ``"either"``: one or the other by a fair coin.
    most_repair : int
        Repairs take 1 to this long, each as likely, >= 1; 99, which is the longest processing time of the benchmarks.
    """
    fails = rng.random(duration.shape) < fail_prob
    is_within = {"within": True, "after": False}.get(when, rng.random(duration.shape) < 0.5)
    moment = (rng.random(duration.shape) * duration).astype(np.int64)
    repair = rng.integers(1, most_repair + 1, duration.shape)
    return Interruptions(np.where(fails & is_within, moment, -1), fails & np.logical_not(is_within), repair)
