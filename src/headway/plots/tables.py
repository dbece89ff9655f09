"""What a table holds, said once for the terminal and for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from headway.core.errors import ConfigError
from headway.plots.quantities import NOTHING, Number, label_of, quantity, scale_of, unit_of
from headway.plots.quantities import number as plain


@dataclass(frozen=True)
class Amount:
    """A number with its unit, and the interval it is known to be in.

    Parameters
    ----------
    value : float
        The number, in `unit`; NaN when there is none.
    unit : str
        ``"s"``, ``"%"`` (of a share from 0 to 1), ``"bytes"``, ``"J"``, ``"W"`` are written in a fitting multiple; any
        other unit, or none, as it is.
    low, high : float or None
        Ends of the interval.
    digits : int
        Digits that matter; default 3.
    """

    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    digits: int = 3

    @staticmethod
    def of(name: str, value: float, low: float | None = None, high: float | None = None) -> Amount:
        """Take the unit from a metric's name: ``Amount.of("p99_ttft_s", 0.0123)`` reads ``12.3 ms``."""
        whole = name.startswith("num_") and math.isfinite(value) and value == int(value)
        return Amount(int(value) if whole else value, unit_of(name), low, high)

    def __str__(self) -> str:
        if self.low is None or self.high is None or not math.isfinite(self.value):
            return quantity(self.value, self.unit, self.digits)
        factor, name = scale_of(abs(self.value), self.unit)
        ends = [plain(float(end) / factor, self.digits) for end in (self.low, self.high)]
        text = f"{plain(float(self.value) / factor, self.digits)} [{ends[0]}, {ends[1]}]"
        return f"{text}{name}" if name.startswith("/") else f"{text} {name}".rstrip()


Cell = str | Number | Amount | None


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    title : str
        What stands above it.
    align : str
        ``"left"``, ``"right"`` or ``"auto"``: right when all of its cells are numbers.
    """

    title: str
    align: Literal["left", "right", "auto"] = "auto"


@dataclass(frozen=True)
class Table:
    """Rows of cells under headers.

    Parameters
    ----------
    columns : sequence of Column or str
        The headers; a string is a column with that title.
    rows : sequence of sequence of str, int, float, Amount or None
        The cells, one per column; None is a dash.
    caption : str
        One sentence that says what is in it.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        for place, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ConfigError(
                    f"table {self.caption!r}: row {place} must have {len(self.columns)} cells, one per column, got "
                    f"{len(row)}. Fill missing ones with None."
                )

    @property
    def titles(self) -> tuple[str, ...]:
        """The header texts."""
        return tuple(column if isinstance(column, str) else column.title for column in self.columns)

    @property
    def aligns(self) -> tuple[Literal["left", "right"], ...]:
        """The side each column leans to."""
        return tuple(self._align(place) for place in range(len(self.columns)))

    def texts(self) -> list[list[str]]:
        """Return all cells as people read them, row by row."""
        return [[text_of(cell) for cell in row] for row in self.rows]

    def _align(self, place: int) -> Literal["left", "right"]:
        column = self.columns[place]
        if isinstance(column, Column) and column.align != "auto":
            return column.align
        cells = [row[place] for row in self.rows if row[place] is not None]
        return "right" if cells and not any(isinstance(cell, str) for cell in cells) else "left"


def text_of(cell: Cell) -> str:
    """Return one cell as people read it."""
    if cell is None:
        return NOTHING
    return str(cell) if isinstance(cell, str | Amount) else plain(cell)


def metrics_table(runs: Mapping[str, Mapping[str, float]], metrics: Sequence[str], caption: str = "") -> Table:
    """Make a table of one row per metric and one column per run, units taken from the metrics' names.

    Parameters
    ----------
    runs : dict of str to dict of str to float
        The numbers, by the name of the run (a policy, say) and of the metric; a missing number is a dash.
    metrics : sequence of str
        The rows.
    caption : str
        One sentence that says what is in it.
    """
    rows: list[list[Cell]] = [
        [label_of(metric), *(Amount.of(metric, numbers.get(metric, math.nan)) for numbers in runs.values())]
        for metric in metrics
    ]
    return Table([Column("", "left"), *(Column(name, "right") for name in runs)], rows, caption)


def html_of(table: Table) -> str:
    """Return the table as HTML, with what a script needs to sort it: the bare number behind every cell."""
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    aligns = table.aligns
    heads = (
        f'<th scope="col" class="{align}">{escape(title)}</th>'
        for title, align in zip(table.titles, aligns, strict=True)
    )
    # Without any title there is nothing to sort by.
    head = f"<thead><tr>{''.join(heads)}</tr></thead>" if any(table.titles) else ""
    body = "".join(f"<tr>{_row(row, aligns)}</tr>" for row in table.rows)
    return f'<div class="scroll"><table class="sortable">{caption}{head}<tbody>{body}</tbody></table></div>'


def _row(row: Sequence[Cell], aligns: Sequence[str]) -> str:
    cells = (
        f'<td class="{align}"{_sort_key(cell)}>{escape(text_of(cell))}</td>'
        for cell, align in zip(row, aligns, strict=True)
    )
    return "".join(cells)


def _sort_key(cell: Cell) -> str:
    value = cell.value if isinstance(cell, Amount) else cell
    if isinstance(value, str) or value is None or not math.isfinite(value):
        return ""
    return f' data-value="{float(value)!r}"'
