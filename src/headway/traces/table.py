"""A request trace in columns: small in memory, fast to scale and slice, and without any object per request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.errors import TraceError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OPTIONAL = ("after", "gap_s", "joins", "due_s")
"""Columns of numbers that not every trace has."""


@dataclass(frozen=True)
class Labels:
    """A column of names: each is kept once.

    Parameters
    ----------
    codes : array of int, `[requests]`
        Index into `names`, per request.
    names : tuple of str
        The names.
    """

    codes: Ints
    names: tuple[str, ...]

    @staticmethod
    def of(values: Sequence[str]) -> Labels:
        """Make the column from one name per request."""
        names, codes = np.unique(np.asarray(values, dtype=str), return_inverse=True)
        return Labels(codes.astype(np.int64), tuple(names.tolist()))

    def __getitem__(self, index: int) -> str:
        return self.names[int(self.codes[index])]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Ints) -> Labels:
        """Return the column of some requests."""
        return Labels(self.codes[rows], self.names)


@dataclass(frozen=True)
class Prefixes:
    """Chained hashes of the blocks of prompts; equal chains mean equal beginnings.

    Parameters
    ----------
    block_tokens : int
        Tokens per hashed block, >= 1.
    values : array of int
        The hashes of all requests, one after the other.
    offsets : array of int, `[requests + 1]`
        Where those of each request begin in `values`. The last block of a prompt may be partly filled.
    """

    block_tokens: int
    values: Ints
    offsets: Ints

    @staticmethod
    def of(block_tokens: int, chains: Sequence[Sequence[int]]) -> Prefixes:
        """Make the column from one chain per request."""
        offsets = np.zeros(len(chains) + 1, np.int64)
        np.cumsum([len(blocks) for blocks in chains], out=offsets[1:])
        values = np.fromiter(chain.from_iterable(chains), np.int64, int(offsets[-1]))
        return Prefixes(block_tokens, values, offsets)

    def __getitem__(self, index: int) -> Ints:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Ints) -> Prefixes:
        """Return the column of some requests."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return Prefixes(self.block_tokens, self.values[places], offsets)


@dataclass(frozen=True)
class RequestTable:
    """Requests as they arrived, with the truth of how long their outputs were; ordered by arrival.

    Parameters
    ----------
    arrival_s : array of float, `[requests]`
        Seconds since the start of the trace, >= 0, non-decreasing. For a request that comes `after` another it is when
        it was recorded to arrive; a world counts from the end of the other.
    prompt_tokens, output_tokens : array of int, `[requests]`
        Lengths, >= 1.
    labels : dict of str to Labels
        Names by meaning: ``"tenant"``, ``"slo_class"``, ``"adapter"``, ``"session"``, ``"model"``, ``"step"``.
    prefixes : Prefixes or None
        Which prompts begin alike, where that is known.
    after : array of int, `[requests]`, or None
        The row of the earlier request that must end before this one is sent, or -1.
    gap_s : array of float, `[requests]`, or None
        How long after that end it is sent (a tool at work, a person reading), in seconds, >= 0.
    joins : array of int, `[requests]`, or None
        1 where it also waits for the ends of all that were sent together with its predecessor (after the same one, and
        so side by side), else 0.
    due_s : array of float, `[requests]`, or None
        Within which time of its first arrival the whole chain is promised to be over, in seconds, > 0; NaN where
        nothing is promised.
    measured : dict of str to array of float, `[requests]`
        What its server was measured to do: ``"queue_s"``, ``"ttft_s"``, ``"tpot_s"``, ``"e2e_s"``; NaN where unknown.
    source : str
        Where it comes from, for people.

    Raises
    ------
    TraceError
        When a column is too short, times go backwards, or a length is below 1; says which row.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints
    labels: dict[str, Labels] = field(default_factory=dict)
    prefixes: Prefixes | None = None
    after: Ints | None = None
    gap_s: Floats | None = None
    joins: Ints | None = None
    due_s: Floats | None = None
    measured: dict[str, Floats] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        columns: dict[str, Sequence[object] | Floats | Ints | Labels | Prefixes | None] = {
            "prompt_tokens": self.prompt_tokens, "output_tokens": self.output_tokens, **self.labels,
            "hashes": self.prefixes, **self.optional(), **self.measured,
        }  # fmt: skip
        for name, column in columns.items():
            if column is not None and len(column) != len(self):
                raise self._error(f"{name} must have one value per request ({len(self)}), got {len(column)}")
        self._check("arrival_s", "must be finite and >= 0", np.isfinite(self.arrival_s) & (self.arrival_s >= 0))
        rising = np.diff(self.arrival_s, prepend=0.0) >= 0
        self._check("arrival_s", "must not go back in time; sort the trace by arrival", rising)
        self._check("prompt_tokens", "must be >= 1", self.prompt_tokens >= 1)
        self._check("output_tokens", "must be >= 1", self.output_tokens >= 1)
        if self.after is not None:
            earlier = (self.after >= -1) & (self.after < np.arange(len(self)))
            self._check("after", "must be an earlier row or -1", earlier)
        if self.gap_s is not None:
            self._check("gap_s", "must be finite and >= 0", np.isfinite(self.gap_s) & (self.gap_s >= 0))
        if self.joins is not None:
            self._check("joins", "must be 0 or 1", (self.joins == 0) | (self.joins == 1))
        if self.due_s is not None:
            self._check("due_s", "must be > 0", np.isnan(self.due_s) | (self.due_s > 0))

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def duration_s(self) -> float:
        """From the first to the last arrival, in seconds."""
        return float(self.arrival_s[-1] - self.arrival_s[0]) if len(self) else 0.0

    @property
    def rate_per_s(self) -> float:
        """Mean arrivals per second; 0 when all arrive at once."""
        return (len(self) - 1) / self.duration_s if self.duration_s > 0 else 0.0

    def roots(self) -> Ints:
        """Return the row with which each request's chain began; that of a request that waits for nobody is its own."""
        rows = np.arange(len(self))
        if self.after is None:
            return rows
        links = np.where(self.after >= 0, self.after, rows)
        while not np.array_equal(links, links[links]):  # each round doubles how far a link reaches
            links = links[links]
        return links

    def label(self, name: str, index: int, default: str = "") -> str:
        """Return the label of one request, or `default` when the trace has no such column or nothing there."""
        column = self.labels.get(name)
        return (column[index] or default) if column is not None else default

    def take(self, rows: Ints) -> RequestTable:
        """Return some requests, in rising order of row; one whose predecessor is left out waits for nobody."""
        after = None
        if self.after is not None:
            place = np.full(len(self) + 1, -1, np.int64)  # the last entry is what -1 looks up
            place[rows] = np.arange(len(rows))
            after = place[self.after[rows]]
        return replace(
            self,
            arrival_s=self.arrival_s[rows],
            prompt_tokens=self.prompt_tokens[rows],
            output_tokens=self.output_tokens[rows],
            labels={name: column.take(rows) for name, column in self.labels.items()},
            prefixes=self.prefixes.take(rows) if self.prefixes is not None else None,
            after=after,
            **{name: column[rows] for name, column in self.optional().items() if name != "after"},
            measured={name: column[rows] for name, column in self.measured.items()},
        )

    def optional(self) -> dict[str, Any]:
        """The columns of numbers that not every trace has."""
        return {name: column for name in OPTIONAL if (column := getattr(self, name)) is not None}

    def _check(self, column: str, must: str, fine: npt.NDArray[np.bool_]) -> None:
        if not fine.all():
            row = int(np.argmin(fine))
            raise self._error(f"{column} {must}, got {getattr(self, column)[row]} in request {row}")

    def _error(self, text: str) -> TraceError:
        return TraceError(f"{self.source or 'trace'}: {text}. Mend the file or leave the row out.")
