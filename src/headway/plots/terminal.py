"""Curves drawn with the dots of Braille letters, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headway.plots.chart import Curve, Floats

_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""What each dot of a letter adds to its code, four rows of two."""

_EMPTY = 0x2800


def draw_curves(curves: Sequence[Curve], width: int = 60, height: int = 8) -> list[str]:
    """Draw curves over one another, the values of the lowest and the highest point at the left.

    Parameters
    ----------
    curves : sequence of Curve
        What to draw; points that are no numbers are left out.
    width, height : int
        Of the drawing without its labels, in letters, >= 2.

    Returns
    -------
    list of str
        Lines; none when there is nothing to draw.

    Examples
    --------
    >>> for line in draw_curves([Curve("loss", np.arange(4.0), np.array([3.0, 2.0, 1.5, 1.0]))], 4, 2):
    ...     print(line)
    3 ⠳⡄⠀⠀
    1 ⠀⠉⠳⢄
    """
    points = [(x, y) for curve in curves for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
    if not points:
        return []
    xs, ys = (np.array(side, np.float64) for side in zip(*points, strict=True))
    letters = np.zeros((height, width), np.int64)
    for curve in curves:
        for column, row in _dots(curve, (xs.min(), xs.max()), (ys.min(), ys.max()), width * 2, height * 4):
            letters[row // 4, column // 2] |= _DOTS[row % 4, column % 2]
    return _labelled(letters, ys.min(), ys.max())


def _dots(
    curve: Curve, across: tuple[float, float], up: tuple[float, float], num_columns: int, num_rows: int
) -> set[tuple[int, int]]:
    """Which dots a curve passes: column from the left, row from the top."""
    real = np.isfinite(curve.y)
    order = np.argsort(curve.x[real], kind="stable")
    x, y = _scaled(curve.x[real][order], across, num_columns), _scaled(curve.y[real][order], up, num_rows)
    if not len(x):
        return set()
    steps = np.linspace(x[0], x[-1], max(2, 4 * num_columns))
    columns, heights = np.rint(steps).astype(int), np.rint(np.interp(steps, x, y)).astype(int)
    return {(int(column), num_rows - 1 - int(row)) for column, row in zip(columns, heights, strict=True)}


def _scaled(values: Floats, ends: tuple[float, float], num: int) -> Floats:
    low, high = ends
    return (values - low) / ((high - low) or 1.0) * (num - 1)


def _labelled(letters: np.ndarray, low: float, high: float) -> list[str]:
    lines = ["".join(chr(_EMPTY + int(code)) for code in row) for row in letters]
    labels = [f"{high:.3g}", *[""] * (len(lines) - 2), f"{low:.3g}"]
    margin = max(map(len, labels))
    return [f"{label:>{margin}} {line}" for label, line in zip(labels, lines, strict=True)]
