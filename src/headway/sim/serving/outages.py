"""When instances fail, and when they are back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds


class Outage(Struct, frozen=True, kw_only=True):
    """One failure of one instance: everything in its memory is lost.

    Parameters
    ----------
    instance : str
        Which.
    at_s : float
        When, in seconds since the start of the run, >= 0.
    lasts_s : float
        How long it is away, start-up included, in seconds, > 0.
    """

    instance: Id
    at_s: Seconds
    lasts_s: Seconds


def draw_outages(
    instances: Sequence[Id],
    until_s: Seconds,
    mtbf_s: Seconds,
    repair_s: Seconds,
    startup_s: Seconds,
    rng: np.random.Generator,
) -> list[Outage]:
    """Draw failures at random times: the time to the next is exponential, on each instance by itself.

    Parameters
    ----------
    instances : sequence of str
        Who can fail.
    until_s : float
        No failure begins after this, in seconds.
    mtbf_s : float
        Mean time from the end of one failure to the beginning of the next, in seconds, > 0.
    repair_s : float
        Mean time to repair, in seconds, >= 0; exponential as well.
    startup_s : float
        From repaired to serving, in seconds, >= 0; the same every time.
    rng : Generator
        Of the truth.

    Raises
    ------
    ConfigError
        When a time is out of its range.
    """
    if not mtbf_s > 0 or repair_s < 0 or startup_s < 0:
        got = f"got {mtbf_s:g}, {repair_s:g} and {startup_s:g}"
        raise ConfigError(f"outages: mtbf_s must be > 0, repair_s and startup_s >= 0, {got}. Mend [outages].")
    found = []
    for instance in instances:
        at_s = float(rng.exponential(mtbf_s))
        while at_s < until_s:
            lasts_s = float(rng.exponential(repair_s)) + startup_s
            found.append(Outage(instance=instance, at_s=at_s, lasts_s=max(lasts_s, 1e-9)))
            at_s += lasts_s + float(rng.exponential(mtbf_s))
    return found
