"""Spans of time as people write them: ``90``, ``30s``, ``10min``, ``1h``."""

from __future__ import annotations

import math
import re

from headway.core.errors import ConfigError

_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(said: str, flag: str) -> float:
    """Read a span of time.

    Parameters
    ----------
    said : str
        A number with a unit (ms, s, min, h); seconds without one.
    flag : str
        Who asks, for the error.

    Raises
    ------
    ConfigError
        When it is no such span, or not above zero.

    Examples
    --------
    >>> seconds("1.5min", "--time-limit")
    90.0
    """
    found = re.fullmatch(r"\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([a-z]*)\s*", said.lower())
    try:
        value = float(found[1]) * _UNITS[found[2]] if found else math.nan
    except (KeyError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise ConfigError(f"{flag}: must be a time above zero, got {said!r}. Try 30s, 10min or 1h.")
    return value
