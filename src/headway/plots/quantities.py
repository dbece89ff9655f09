"""Numbers as people read them: three digits that matter, a fitting unit, a name without underscores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Number = float | int | np.floating[Any] | np.integer[Any]
"""Those of numpy are numbers too."""

NOTHING = "–"
"""What stands for a number that does not exist."""

_ENDINGS = {
    "_usd_per_mtok": "USD/Mtok", "_j_per_output_token": "J/token", "_per_s": "/s", "_frac": "%", "_bytes": "bytes",
    "_usd": "USD", "_watts": "W", "_j": "J", "_s": "s",
}  # fmt: skip
"""What the end of a name says about its unit; the first that fits counts."""

_WORDS = {
    "ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "E2E", "kv": "KV", "slo": "SLO", "jct": "JCT",
    "watts": "power", "mtok": "output Mtok",
}  # fmt: skip

_SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "bytes": ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "J": ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"), (1.0, "J")),
    "W": ((1e6, "MW"), (1e3, "kW"), (1.0, "W")),
    "%": ((1e-2, "%"),),
}
"""Per unit, what it is written in: how much one of it is worth, largest first."""


def unit_of(name: str) -> str:
    """Return the unit that a metric's name says, ``"s"`` for ``"p99_ttft_s"``; empty for counts."""
    return next((unit for ending, unit in _ENDINGS.items() if f"_{name}".endswith(ending)), "")


def label_of(name: str) -> str:
    """Return a metric's name as words without its unit, ``"p99 TTFT"`` for ``"p99_ttft_s"``."""
    ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
    # What it costs and what it costs per piece are two metrics; a rate needs no word beside its unit.
    kept = ending.removeprefix("_usd").removeprefix("_j") if "_per_" in ending[1:] else ""
    stem = name.removesuffix(ending).removeprefix("num_") + kept
    return " ".join(_WORDS.get(word, word) for word in stem.split("_") if word)


def number(value: Number | None, digits: int = 3) -> str:
    """Write a number with so many digits that matter, never more than it has, and never cut before the point.

    Parameters
    ----------
    value : float, int or None
        The number; None and NaN are a dash. Whole numbers (int) are written in full.
    digits : int
        Digits that matter, >= 1; default 3.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, int | np.integer) or value == 0:
        return f"{int(value):,}".replace("-", "−")
    return _significant(float(value), digits).replace("-", "−")


def quantity(value: Number | None, unit: str = "", digits: int = 3) -> str:
    """Write a number with its unit, in the multiple that suits its size: 0.0123 s is ``"12.3 ms"``.

    Parameters
    ----------
    value : float, int or None
        The number, in `unit`; a share is given from 0 to 1 and written in percent.
    unit : str
        As `unit_of` returns it; empty for a plain number.
    digits : int
        Digits that matter, >= 1; default 3.
    """
    if value is None or math.isnan(value):
        return NOTHING
    factor, name = scale_of(abs(float(value)), unit)
    text = number(value if factor == 1 else float(value) / factor, digits)
    return f"{text}{name}" if name.startswith("/") else f"{text} {name}".rstrip()


def scale_of(size: float, unit: str) -> tuple[float, str]:
    """Return the multiple of a unit that suits values of a size: what one of it is worth, and its name."""
    scales = _SCALES.get(unit)
    if not scales:
        return 1.0, unit
    # Half a unit in the last of three digits decides: 0.9996 s is written 1.00 s, not 1,000 ms.
    fits = (scale for scale in scales if size >= scale[0] * 0.9995)
    return next(fits, scales[-1] if 0 < size < math.inf else _plain(scales))


def _plain(scales: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    return next((scale for scale in scales if scale[0] == 1.0), scales[0])


def _significant(value: float, digits: int) -> str:
    places = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    if not 1e-4 <= abs(rounded) < 1e12:
        return f"{value:.{digits - 1}e}"
    # Rounding may have carried into a new digit: 9.996 has become 10.
    places = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{round(value) if places < 0 else rounded:,.{max(places, 0)}f}"
