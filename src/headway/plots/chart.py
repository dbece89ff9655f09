"""What a figure shows, said without any drawing library: both renderers draw the same description."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from headway.core.errors import ConfigError

NOTHING = "nothing to show"
"""What stands where there is nothing to draw."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Parameters
    ----------
    label : str
        What it shows, without the unit.
    unit : str
        Its unit; empty for a plain count, ``"%"`` for a share given from 0 to 1.
    log : bool
        Whether it is logarithmic; default False.
    low, high : float or None
        Where it begins and ends; None follows the data.
    """

    label: str = ""
    unit: str = ""
    log: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def title(self) -> str:
        """The label with its unit; percent signs stand at the ticks instead."""
        unit = "" if self.unit == "%" else self.unit
        return f"{self.label} ({unit})" if unit and self.label else self.label or unit


@dataclass(frozen=True)
class Curve:
    """Values along x: a line, steps or single dots, with a band around it where there are intervals.

    Parameters
    ----------
    name : str
        What the legend says.
    x, y : array of float, `[points]`
        The points; NaN in `y` is a gap.
    shape : str
        ``"line"``, ``"step"`` (keeps its value until the next x), ``"dots"`` or ``"area"`` (steps filled down to 0).
    low, high : array of float, `[points]`, or None
        The band.
    key : str
        Whose colour it has, for example a policy; default `name`.
    marked : bool
        Whether every point of a line gets a mark; for few points that were measured one by one.
    """

    name: str
    x: Floats
    y: Floats
    shape: Literal["line", "step", "dots", "area"] = "line"
    low: Floats | None = None
    high: Floats | None = None
    key: str = ""
    marked: bool = False

    def __post_init__(self) -> None:
        _same_length(f"curve {self.name!r}", x=self.x, y=self.y, low=self.low, high=self.high)


@dataclass(frozen=True)
class Bars:
    """One bar per label, with an interval where there is one.

    Parameters
    ----------
    name : str
        What the legend says.
    labels : tuple of str
        What stands under the bars.
    values : array of float, `[labels]`
        Their heights; NaN is no bar.
    low, high : array of float, `[labels]`, or None
        Ends of the intervals.
    key : str
        Whose colour the bars have; default `name`.
    keys : tuple of str
        A colour for each bar instead, for example a policy per bar; empty for one colour.
    """

    name: str
    labels: tuple[str, ...]
    values: Floats
    low: Floats | None = None
    high: Floats | None = None
    key: str = ""
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _same_length(f"bars {self.name!r}", labels=self.labels, values=self.values, low=self.low, high=self.high)
        if self.keys:
            _same_length(f"bars {self.name!r}", labels=self.labels, keys=self.keys)


@dataclass(frozen=True)
class Spans:
    """What ran when in which lane (a Gantt chart), under one name.

    Parameters
    ----------
    name : str
        What the legend says.
    start, end : array of float, `[spans]`
        When they began and ended, on the x axis.
    lane : array of str, `[spans]`
        In which lane, for example a resource.
    key : str
        Whose colour they have; default `name`.
    texts : tuple of str
        What is written at each span; empty for nothing. Spans with texts are never drawn as one.
    """

    name: str
    start: Floats
    end: Floats
    lane: npt.NDArray[Any]
    key: str = ""
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _same_length(f"spans {self.name!r}", start=self.start, end=self.end, lane=self.lane)
        if self.texts:
            _same_length(f"spans {self.name!r}", start=self.start, texts=self.texts)


Mark = Curve | Bars | Spans


@dataclass(frozen=True)
class Bound:
    """A line that must not be crossed, such as an objective.

    Parameters
    ----------
    name : str
        What is written beside it.
    at : float
        Where it stands.
    axis : str
        On which axis `at` is read: ``"x"`` (an upright line) or ``"y"``.
    """

    name: str
    at: float
    axis: Literal["x", "y"] = "x"

    def __post_init__(self) -> None:
        if not math.isfinite(self.at):
            raise ConfigError(f"bound {self.name!r}: at must be a finite number, got {self.at}. Leave the bound out.")


@dataclass(frozen=True)
class Chart:
    """One pair of axes and what is drawn on it.

    Parameters
    ----------
    title : str
        One line above it.
    x, y : Axis
        The axes.
    marks : tuple of Curve, Bars or Spans
        What is drawn, in this order; a chart of bars or of spans holds nothing else.
    bounds : tuple of Bound
        Lines across.
    about : str
        One sentence for those who cannot see it; by default one is made from the marks.
    kind : str
        What the marks are named after, for example ``"resources"``: names of one kind share a row of colours. The
        default, empty, is what a report compares, such as policies.
    """

    title: str
    x: Axis = Axis()
    y: Axis = Axis()
    marks: tuple[Mark, ...] = ()
    bounds: tuple[Bound, ...] = ()
    about: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        kinds = {type(mark) for mark in self.marks}
        if len(kinds) > 1:
            found = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ConfigError(f"chart {self.title!r}: all marks must be of one kind, got {found}. Make one chart each.")
        for name, axis in (("x", self.x), ("y", self.y)):
            ends = [axis.low, axis.high, *(bound.at for bound in self.bounds if bound.axis == name)]
            if axis.log and any(end is not None and end <= 0 for end in ends):
                raise ConfigError(
                    f"chart {self.title!r}: ends and bounds of a logarithmic {name} axis must be > 0, got "
                    f"{', '.join(str(end) for end in ends if end is not None)}. Give it log=False."
                )


@dataclass(frozen=True)
class Panels:
    """Charts below each other.

    Parameters
    ----------
    title : str
        One line above all.
    charts : tuple of Chart
        From top to bottom, at least one; the titles of all are written small.
    share_x : bool
        Whether they share their x axis, of which that of the last counts; the default.
    """

    title: str
    charts: tuple[Chart, ...]
    share_x: bool = True

    def __post_init__(self) -> None:
        if not self.charts:
            raise ConfigError(f"panels {self.title!r}: at least one chart must be given, got none. Add one.")


Figure = Chart | Panels


def panels_of(figure: Figure) -> tuple[Chart, ...]:
    """Return the charts of a figure, from top to bottom."""
    return figure.charts if isinstance(figure, Panels) else (figure,)


def is_empty(chart: Chart) -> bool:
    """Say whether a chart has nothing to draw."""
    columns = (m.y if isinstance(m, Curve) else m.values if isinstance(m, Bars) else m.start for m in chart.marks)
    return not any(np.isfinite(column).any() for column in columns)


def keys_of(mark: Mark) -> tuple[str, ...]:
    """Return whose colours a mark has, in the order they are drawn."""
    if isinstance(mark, Bars) and mark.keys:
        return mark.keys
    return (mark.key or mark.name,)


def lanes_of(chart: Chart) -> list[str]:
    """Return the lanes of a chart of spans, numbers in order; none for another chart."""
    spans = [mark for mark in chart.marks if isinstance(mark, Spans)]
    return natural_order({str(lane) for mark in spans for lane in np.unique(mark.lane)})


def extent_of(chart: Chart) -> float:
    """Return how far the spans of a chart reach along x, together."""
    spans = [mark for mark in chart.marks if isinstance(mark, Spans) and len(mark.start)]
    return float(max(mark.end.max() for mark in spans) - min(mark.start.min() for mark in spans)) if spans else 0.0


def natural_order(names: Iterable[str]) -> list[str]:
    """Return names with their numbers in order: ``node-2`` before ``node-10``."""
    return sorted(names, key=_natural)


def _natural(name: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(place % 2 == 1, int(part) if place % 2 else 0, part) for place, part in enumerate(parts)]


def _same_length(where: str, **columns: Any) -> None:
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ConfigError(f"{where}: columns must be equally long, got {found}. Give one value per point to each.")
