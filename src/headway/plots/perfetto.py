"""A run as a timeline that ui.perfetto.dev and chrome://tracing open: the Chrome trace-event format, in JSON.

Every resource is a process: its spans are slices, in as many threads as run at once, and its samples are counters.
Every work is a line of its own from its arrival to its end, cut into phases.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from headway.core.errors import ConfigError
from headway.core.scenario import Columns, Outcome
from headway.core.writing import replacing
from headway.plots.chart import natural_order
from headway.plots.tracks import lanes_apart, nanoseconds

COUNTERS = ("waiting", "running", "kv_used_frac", "batch_tokens", "watts")
"""What is drawn of samples; columns that are not there are passed over."""
MAX_WORKS = 20_000
"""Works that are drawn unless told otherwise; of more, every n-th is."""

WORK = "work"
"""Name of every life line."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Phase:
    """A part of a work's life.

    Parameters
    ----------
    name : str
        What it is called.
    until : str
        The column of works that says when it ended, in seconds after the arrival; the phase begins where the one
        before it ended.
    """

    name: str
    until: str


PHASES = (Phase("queued", "queue_s"), Phase("prefill", "ttft_s"), Phase("decode", "e2e_s"))
"""The life of a request."""


def write_perfetto(
    outcome: Outcome,
    path: Path | str,
    *,
    phases: Sequence[Phase] = PHASES,
    counters: Sequence[str] = COUNTERS,
    max_works: int = MAX_WORKS,
) -> int:
    """Write a run as a trace file: event by event, and whole or not at all.

    Parameters
    ----------
    outcome : Outcome
        The run; what it does not have is left out.
    path : Path
        Where to, ending in ``.json`` or ``.json.gz``; its folder must exist.
    phases : sequence of Phase
        How the life of a work is cut, in order; phases whose column is not there are passed over.
    counters : sequence of str
        Columns of samples to draw.
    max_works : int
        How many works are drawn at most, >= 1.

    Returns
    -------
    int
        How many events were written.

    Raises
    ------
    ConfigError
        When the name ends otherwise, or the folder does not exist.
    """
    path = Path(path)
    if not path.name.endswith((".json", ".json.gz")):
        raise ConfigError(f"{path}: must end in .json or .json.gz, got {path.name!r}. Name it {path.stem}.json.gz.")
    about = {"policy": outcome.report.policy, "seed": str(outcome.report.seed)}
    num_works = len(outcome.works.get("arrival_s", ()))
    if num_works > max_works:
        about["works"] = f"every {_stride(num_works, max_works)}th of {num_works}"
    with _opened(path) as file:
        return _write(file, trace_events(outcome, phases=phases, counters=counters, max_works=max_works), about)


def trace_events(
    outcome: Outcome,
    *,
    phases: Sequence[Phase] = PHASES,
    counters: Sequence[str] = COUNTERS,
    max_works: int = MAX_WORKS,
) -> Iterator[Event]:
    """Yield the events of a run, track by track, each track in the order of time; see `write_perfetto`."""
    resources = _resources(outcome)
    for place, name in enumerate(resources):
        yield {"ph": "M", "name": "process_name", "pid": place + 1, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": place + 1, "args": {"sort_index": place + 1}}
    for place, name in enumerate(resources):
        yield from _slices(outcome.spans, name, place + 1)
        yield from _counts(outcome.samples, name, place + 1, counters)
    yield from _lives(outcome.works, len(resources) + 1, phases, max_works)


def _resources(outcome: Outcome) -> list[str]:
    columns = (part["resource"] for part in (outcome.spans, outcome.samples) if "resource" in part)
    return natural_order({str(name) for column in columns for name in np.unique(column)})


def _slices(spans: Columns, resource: str, pid: int) -> Iterator[Event]:
    if "resource" not in spans:
        return
    rows = np.flatnonzero(spans["resource"] == resource)
    rows = rows[np.argsort(spans["start_s"][rows], kind="stable")]
    start, end = nanoseconds(spans["start_s"][rows]), nanoseconds(spans["end_s"][rows])
    lanes = lanes_apart(start, end)
    for row, low, high, lane in zip(rows.tolist(), start.tolist(), end.tolist(), lanes.tolist(), strict=True):
        name = str(spans["name"][row])
        yield {"ph": "X", "name": name, "pid": pid, "tid": lane + 1, "ts": low / 1e3, "dur": (high - low) / 1e3}


def _counts(samples: Columns, resource: str, pid: int, counters: Sequence[str]) -> Iterator[Event]:
    if "resource" not in samples:
        return
    rows = np.flatnonzero(samples["resource"] == resource)
    rows = rows[np.argsort(samples["at_s"][rows], kind="stable")]
    at = nanoseconds(samples["at_s"][rows])
    for counter in (counter for counter in counters if counter in samples):
        values = samples[counter][rows].astype(np.float64)
        kept = np.isfinite(values)
        for when, value in zip(at[kept].tolist(), values[kept].tolist(), strict=True):
            yield {"ph": "C", "name": counter, "pid": pid, "ts": when / 1e3, "args": {"value": value}}


def _lives(works: Columns, pid: int, phases: Sequence[Phase], max_works: int) -> Iterator[Event]:
    num = len(works.get("arrival_s", ()))
    here = [phase for phase in phases if phase.until in works]
    if not num or not here:
        return
    yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": "works"}}
    yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": 0}}
    order = np.argsort(works["arrival_s"], kind="stable")
    for row in order[:: _stride(num, max_works)].tolist():
        yield from _life(works, row, pid, here)


def _life(works: Columns, row: int, pid: int, phases: Sequence[Phase]) -> Iterator[Event]:
    number = int(works["row"][row]) if "row" in works else row
    arrival = float(works["arrival_s"][row])
    shared: Event = {"cat": "work", "id": str(number), "pid": pid, "tid": 0}
    ends = [(phase.name, float(works[phase.until][row])) for phase in phases]
    ends = [(name, after_s) for name, after_s in ends if np.isfinite(after_s)]
    at = [arrival, *np.maximum.accumulate([arrival, *(arrival + after_s for _, after_s in ends)]).tolist()[1:]]
    when = [stamp / 1e3 for stamp in nanoseconds(np.array(at)).tolist()]
    # All have one name: viewers pack lines of the same name into as few rows as are alive at once.
    yield {**shared, "ph": "b", "name": WORK, "ts": when[0], "args": {WORK: number, **_facts(works, row)}}
    for (name, _), low, high in zip(ends, when, when[1:], strict=False):
        yield {**shared, "ph": "b", "name": name, "ts": low}
        yield {**shared, "ph": "e", "name": name, "ts": high}
    yield {**shared, "ph": "e", "name": WORK, "ts": when[-1]}


def _facts(works: Columns, row: int) -> dict[str, Any]:
    facts = {name: column[row].item() for name, column in works.items()}
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in facts.items()
    }


def _stride(num: int, most: int) -> int:
    return -(-num // most)


def _write(file: IO[bytes], events: Iterable[Event], about: dict[str, str]) -> int:
    encode = msgspec.json.encode
    file.write(b'{"displayTimeUnit":"ms","otherData":' + encode(about) + b',"traceEvents":[\n')
    num = 0
    for event in events:
        file.write((b",\n" if num else b"") + encode(event))
        num += 1
    file.write(b"\n]}\n")
    return num


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with replacing(path) as beside, beside.open("wb") as raw:
        if path.suffix != ".gz":
            yield raw
            return
        # No name and no time inside: the same run gives the same bytes.
        packed = gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0, compresslevel=6)
        with packed, io.BufferedWriter(packed, 1 << 20) as file:
            yield file
