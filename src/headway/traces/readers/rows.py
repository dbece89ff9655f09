"""Rows as a reader found them, and what makes a table of them: every value is judged here, once for all formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.errors import TraceError
from headway.traces.table import Floats, Ints, Labels, Prefixes, RequestTable

MEASURED = ("queue_s", "ttft_s", "tpot_s", "e2e_s")
LENGTHS = ("prompt_tokens", "output_tokens")
CLOCK_S = 1e8
"""Times from here on are those of a clock (seconds since 1970), and are counted from the first of them."""
CLOCK_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""Clocks that count nanoseconds, microseconds, milliseconds: from which number on, and how many make a second."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Requests as they stand in a file, not judged yet.

    Parameters
    ----------
    where : str
        The file, for errors.
    lines : array of int, `[requests]`
        The line of each, counted from 1; rows of a format without lines count themselves.
    columns : dict of str to array of float, `[requests]`
        ``"prompt_tokens"``, ``"output_tokens"``; ``"arrival_s"`` where there are times; ``"gap_s"``, ``"joins"``,
        ``"due_s"``; and what servers measured.
    labels : dict of str to Labels
        Names by meaning.
    prefixes : Prefixes or None
        Chains of block hashes.
    after : array of int, `[requests]`, or None
        The row of the predecessor, or -1.
    left_out : int
        Rows that the reader itself could not use.
    """

    where: str
    lines: Ints
    columns: dict[str, Floats]
    labels: dict[str, Labels] = field(default_factory=dict)
    prefixes: Prefixes | None = None
    after: Ints | None = None
    left_out: int = 0

    def take(self, rows: Ints) -> Rows:
        """Return some rows in the order given; a follower whose predecessor is left out follows the one before it."""
        return replace(
            self,
            lines=self.lines[rows],
            columns={name: column[rows] for name, column in self.columns.items()},
            labels={name: column.take(rows) for name, column in self.labels.items()},
            prefixes=self.prefixes.take(rows) if self.prefixes is not None else None,
            after=_relinked(self.after, rows) if self.after is not None else None,
        )


@dataclass(frozen=True)
class Reading:
    """A trace that was read, and what a reader has to say about it.

    Parameters
    ----------
    table : RequestTable
        The requests.
    format : str
        How the file was understood.
    is_timed : bool
        Whether it says when requests arrived; in one that does not, all arrive at the same moment.
    num_left_out : int
        How many bad rows were dropped.
    """

    table: RequestTable
    format: str
    is_timed: bool = True
    num_left_out: int = 0


def judge(rows: Rows, format: str, *, sort: bool = False, drop_bad: bool = False) -> Reading:
    """Make a table of rows.

    Parameters
    ----------
    rows : Rows
        What a reader found.
    format : str
        Its format.
    sort : bool
        Whether rows out of order are sorted by arrival instead of refused.
    drop_bad : bool
        Whether rows without sense are left out instead of refused.

    Raises
    ------
    TraceError
        When there is nothing, or a row has a bad value; says file, line and value.
    """
    num = len(rows.lines)
    if drop_bad:
        rows = rows.take(np.flatnonzero(_fine(rows)))
    if not len(rows.lines):
        extra = f"; all {num} had bad values" if num else ""
        raise TraceError(f"{rows.where}: must hold at least one request, got none{extra}. Check the file.")
    _refuse_bad(rows)
    rows = _in_order(_from_first(rows), sort) if "arrival_s" in rows.columns else rows
    arrival_s = rows.columns.get("arrival_s", np.zeros(2))
    is_timed = len(arrival_s) == 1 or bool(arrival_s[-1] > arrival_s[0])
    return Reading(_table(rows), format, is_timed, num - len(rows.lines) + rows.left_out)


def _tests(rows: Rows) -> list[tuple[str, str, Callable[[Floats], Mask]]]:
    lengths = [(name, "must be a whole number >= 1", _is_length) for name in LENGTHS]
    times = [(n, "must be a number >= 0", _is_time) for n in ("arrival_s", "gap_s") if n in rows.columns]
    return [*times, *lengths]


def _is_length(values: Floats) -> Mask:
    fine: Mask = (values >= 1) & (values < 2**53) & (values == np.floor(values))
    return fine


def _is_time(values: Floats) -> Mask:
    fine: Mask = (values >= 0) & np.isfinite(values)
    return fine


def _fine(rows: Rows) -> Mask:
    fine = np.ones(len(rows.lines), bool)
    for name, _, is_fine in _tests(rows):
        fine &= is_fine(rows.columns[name])
    return fine


def _refuse_bad(rows: Rows) -> None:
    for name, must, is_fine in _tests(rows):
        fine = is_fine(rows.columns[name])
        if not fine.all():
            row = int(np.argmin(fine))
            raise TraceError(
                f"{rows.where}, line {rows.lines[row]}: {name} {must}, got {rows.columns[name][row]:g} "
                f"({int((~fine).sum())} such rows). Mend the file, or have them left out (drop_bad, --drop-bad)."
            )


def _from_first(rows: Rows) -> Rows:
    arrival_s = rows.columns["arrival_s"]
    first = float(arrival_s.min())
    per_s = next((per_s for least, per_s in CLOCK_UNITS if first >= least), 1.0)
    return rows if first < CLOCK_S else with_column(rows, "arrival_s", (arrival_s - first) / per_s)


def _in_order(rows: Rows, sort: bool) -> Rows:
    arrival_s = rows.columns["arrival_s"]
    back = np.flatnonzero(np.diff(arrival_s) < 0)
    if not len(back):
        return rows
    if sort:
        return rows.take(np.argsort(arrival_s, kind="stable"))
    row = int(back[0]) + 1
    raise TraceError(
        f"{rows.where}, line {rows.lines[row]}: arrival_s must not go back in time, got {arrival_s[row]:g} after "
        f"{arrival_s[row - 1]:g}. Sort the file, or have it sorted (sort, --sort)."
    )


def _table(rows: Rows) -> RequestTable:
    columns = rows.columns
    return RequestTable(
        arrival_s=columns.get("arrival_s", np.zeros(len(rows.lines))),
        prompt_tokens=columns["prompt_tokens"].astype(np.int64),
        output_tokens=columns["output_tokens"].astype(np.int64),
        labels=rows.labels,
        prefixes=rows.prefixes,
        after=rows.after,
        gap_s=columns.get("gap_s"),
        joins=columns["joins"].astype(np.int64) if "joins" in columns else None,
        due_s=columns.get("due_s"),
        measured={name: columns[name] for name in MEASURED if name in columns},
        source=rows.where,
    )


def _relinked(after: Ints, rows: Ints) -> Ints:
    place = np.full(len(after) + 1, -1, np.int64)
    place[rows] = np.arange(len(rows))
    links, before = after[rows], np.append(after, -1)
    while True:  # each round steps over one predecessor that is left out
        lost = (links >= 0) & (place[links] < 0)
        if not lost.any():
            return place[links]
        links = np.where(lost, before[links], links)


def with_column(rows: Rows, name: str, values: Floats) -> Rows:
    """Return rows with one column put in."""
    return replace(rows, columns={**rows.columns, name: values})


def lengths_of(prompt: Any, output: Any) -> dict[str, Floats]:
    """Return both lengths as the columns that `Rows` wants."""
    return {"prompt_tokens": np.asarray(prompt, float), "output_tokens": np.asarray(output, float)}
