"""Gather columns from values as they stand in a file: text, numbers, dates, nothing."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.names import LABELS
from headway.traces.readers.rows import LENGTHS, MEASURED, Rows
from headway.traces.table import Floats, Ints, Labels, Prefixes

_FRACTION = re.compile(r"(\.\d{6})\d+")


class Gather:
    """Columns that grow chunk by chunk, so that a long file is never held as text.

    Parameters
    ----------
    where : str
        The file, for errors.
    drop_bad : bool
        Whether what is no number becomes NaN, to be dropped later, instead of an error.
    block_tokens : int
        Tokens per hashed block where the file does not say, >= 1.
    """

    def __init__(self, where: str, *, drop_bad: bool = False, block_tokens: int = 16) -> None:
        self._where = where
        self._drop_bad = drop_bad
        self._block_tokens = block_tokens
        self._lines: list[Ints] = []
        self._numbers: dict[str, list[Floats]] = {}
        self._dates_ns: list[Ints] = []
        self._codes: dict[str, list[Ints]] = {}
        self._names: dict[str, dict[str, int]] = {}
        self._hashes = HashColumn()

    def add(self, chunk: Mapping[str, Sequence[Any]], lines: Ints) -> None:
        """Take in some rows: values by column of a table, and their lines."""
        self._lines.append(lines)
        for name, values in chunk.items():
            if name in LABELS:
                self._add_names(name, values)
            elif name == "hash_ids":
                self._hashes.add(values)
            elif name == "block_tokens":
                self._block_tokens = next((int(value) for value in values if value), self._block_tokens)
            elif name == "arrival_s" and not self._is_number(next(iter(values), 0)):
                self._dates_ns.append(self._dates(values, lines))
            else:
                self._numbers.setdefault(name, []).append(self._floats(name, values, lines))

    def rows(self) -> Rows:
        """Return all of them."""
        lines = np.concatenate(self._lines) if self._lines else np.empty(0, np.int64)
        numbers = {name: np.concatenate(parts) for name, parts in self._numbers.items()}
        after = numbers.pop("after", None)
        columns = {name: numbers.get(name, np.empty(0)) for name in LENGTHS}
        columns |= {name: values for name, values in numbers.items() if not name.endswith("_ms")}
        columns |= {name[:-3] + "_s": values / 1e3 for name, values in numbers.items() if name.endswith("_ms")}
        if self._dates_ns:
            columns["arrival_s"] = _since_first(np.concatenate(self._dates_ns))
        self._check_whole(columns, len(lines))
        labels = {name: Labels(np.concatenate(codes), tuple(self._names[name])) for name, codes in self._codes.items()}
        prefixes = self._hashes.prefixes(self._block_tokens)
        links = None if after is None else np.where(np.isfinite(after), after, -1).astype(np.int64)
        return Rows(self._where, lines, columns, labels, prefixes, links)

    def _check_whole(self, columns: Mapping[str, Floats], num: int) -> None:
        for name, values in columns.items():
            if len(values) != num:
                raise TraceError(f"{self._where}: {name} must be of one kind, got numbers and dates. Mend the file.")

    def _add_names(self, name: str, values: Sequence[Any]) -> None:
        known = self._names.setdefault(name, {})
        texts = ("" if value is None else str(value) for value in values)
        codes = np.fromiter((known.setdefault(text, len(known)) for text in texts), np.int64, len(values))
        self._codes.setdefault(name, []).append(codes)

    def _floats(self, name: str, values: Sequence[Any], lines: Ints) -> Floats:
        try:
            return np.fromiter(map(float, values), float, len(values))
        except (TypeError, ValueError):
            may_lack = name.removesuffix("_ms") + "_s" in MEASURED or name in (*MEASURED, "after", "due_s")
            pairs = zip(values, lines.tolist(), strict=True)
            return np.array([self._float(name, value, line, may_lack) for value, line in pairs])

    def _float(self, name: str, value: Any, line: int, may_lack: bool) -> float:
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            if self._drop_bad or (may_lack and value in (None, "")):
                return math.nan
            raise self._no_number(name, value, line) from error

    def _no_number(self, name: str, value: Any, line: int, what: str = "a number") -> TraceError:
        came = "nothing" if value in (None, "") else repr(value)
        return TraceError(
            f"{self._where}, line {line}: {name} must be {what}, got {came}. "
            "Mend the row, or have such rows left out (drop_bad, --drop-bad)."
        )

    @staticmethod
    def _is_number(value: Any) -> bool:
        try:
            float(value)
        except (TypeError, ValueError):
            return not (isinstance(value, str) and re.match(r"\s*\d{4}-\d\d-\d\d", value))
        return True

    def _dates(self, values: Sequence[Any], lines: Ints) -> Ints:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a time zone is only warned of
                return np.array([value.strip() for value in values], "datetime64[ns]").astype(np.int64)
        except (ValueError, AttributeError, UserWarning, DeprecationWarning):
            return self._dates_one_by_one(values, lines)

    def _dates_one_by_one(self, values: Sequence[Any], lines: Ints) -> Ints:
        found = []
        for value, line in zip(values, lines.tolist(), strict=True):
            try:
                # Some write seven digits of a second and more; a date here has six at most.
                moment = datetime.fromisoformat(_FRACTION.sub(r"\1", str(value).strip()))
            except ValueError as error:
                if not self._drop_bad:
                    raise self._no_number("arrival_s", value, line, "a date, as before") from error
                found.append(np.datetime64("NaT").astype(np.int64).item())
                continue
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            found.append(round(moment.timestamp() * 1e6) * 1000)
        return np.array(found, np.int64)


class HashColumn:
    """Chains of block hashes of any kind, as one column of integers."""

    def __init__(self) -> None:
        self._lengths: list[Ints] = []
        self._values: list[Ints] = []
        self._known: dict[Any, int] = {}

    def add(self, chains: Sequence[Iterable[Any] | None]) -> None:
        """Take in the chains of some requests; None is an empty one."""
        whole = [list(blocks or ()) for blocks in chains]
        lengths = np.array([len(blocks) for blocks in whole], np.int64)
        values: Iterable[Any] = chain.from_iterable(whole)
        try:
            found = np.fromiter(values, np.int64, int(lengths.sum()))
        except (OverflowError, TypeError, ValueError):  # texts, or numbers beyond 63 bits: known by their order
            known = self._known
            numbers = (known.setdefault(value, -2 - len(known)) for value in chain.from_iterable(whole))
            found = np.fromiter(numbers, np.int64, int(lengths.sum()))
        self._lengths.append(lengths)
        self._values.append(found)

    def prefixes(self, block_tokens: int) -> Prefixes | None:
        """Return the column, or None when no request has a chain."""
        if not self._values or not any(len(values) for values in self._values):
            return None
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(self._lengths))])
        return Prefixes(block_tokens, np.concatenate(self._values), offsets)


def _since_first(dates_ns: Ints) -> Floats:
    is_date = dates_ns != np.datetime64("NaT").astype(np.int64)
    if not is_date.any():
        return np.full(len(dates_ns), np.nan)
    return np.where(is_date, (dates_ns - dates_ns[is_date].min()) / 1e9, np.nan)
