"""The learning rate over the steps of a run."""

from __future__ import annotations

import math


def learning_rate(peak: float, schedule: str, warmup_frac: float, step: int, num_steps: int) -> float:
    """Return the learning rate of a step: up a line to the peak, then as the schedule says, to 0 after the last.

    Parameters
    ----------
    peak : float
        The highest.
    schedule : str
        ``"linear"``, ``"cosine"`` or ``"constant"``.
    warmup_frac : float
        Share of the steps in which it rises, in [0, 1).
    step, num_steps : int
        Which step, from 0, of how many.

    Examples
    --------
    >>> [round(learning_rate(1.0, "linear", 0.4, step, 5), 3) for step in range(5)]
    [0.5, 1.0, 1.0, 0.667, 0.333]
    """
    num_warm = math.ceil(warmup_frac * num_steps)
    if step < num_warm:
        return peak * (step + 1) / num_warm
    gone = (step - num_warm) / (num_steps - num_warm) if num_steps > num_warm else 0.0
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * gone)) / 2
    return peak * (1 - gone) if schedule == "linear" else peak
