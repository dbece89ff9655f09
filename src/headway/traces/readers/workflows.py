"""Workflows: per line one request of a user, with the steps of a chain of model calls."""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from headway.core.errors import TraceError
from headway.traces.readers.json_lines import first_record, records
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows, lengths_of
from headway.traces.table import Labels


def looks_so(head: bytes) -> bool:
    """Say whether the first line has steps."""
    return isinstance(first_record(head).get("steps"), list)


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Read chains of calls: each step waits for the one before it, and follows at once.

    Notes
    -----
    The lines say the order of the steps, not which could have run side by side, nor when anything happened. The rows
    have no times: all chains begin at 0, until arrivals are drawn for them.
    """
    lines: list[int] = []
    after: list[int] = []
    lengths: list[tuple[Any, Any]] = []
    sessions: list[str] = []
    steps: list[str] = []
    for objects, numbers in records(file, where, options):
        for record, line in zip(objects, numbers.tolist(), strict=True):
            for place, step in enumerate(_steps(record, where, line)):
                after.append(len(lines) - 1 if place else -1)
                lines.append(line)
                lengths.append(
                    (_length(step, "input_length", where, line), _length(step, "output_length", where, line))
                )
                sessions.append(str(record.get("request", line)))
                steps.append(str(step.get("step", place)))
    columns = lengths_of([p for p, _ in lengths], [o for _, o in lengths]) | {"gap_s": np.zeros(len(lines))}
    labels = {"session": Labels.of(sessions), "step": Labels.of(steps)}
    return Rows(where, np.array(lines, np.int64), columns, labels, after=np.array(after, np.int64))


def _steps(record: dict[str, Any], where: str, line: int) -> list[dict[str, Any]]:
    steps = record.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise TraceError(f"{where}, line {line}: steps must be a list of objects, got {steps!r:.60}. Mend the line.")
    return steps


def _length(step: dict[str, Any], name: str, where: str, line: int) -> float:
    value = step.get(name)
    if not isinstance(value, int | float):
        came = "nothing" if value is None else repr(value)
        raise TraceError(f"{where}, line {line}: {name} of a step must be a number, got {came}. Mend the line.")
    return float(value)
