"""Models of clients: per client and window of time, how often it asks and how long its requests are."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Any

import msgspec
import numpy as np

from headway.core.errors import TraceError
from headway.traces.generate.lengths import whole
from headway.traces.readers.json_lines import first_record, records
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Rows, lengths_of
from headway.traces.table import Floats, Ints, Labels

MAX_REQUESTS = 100_000
WINDOW_S = 600.0
PROMPT_PARTS = ("input_tokens", "text_tokens", "image_tokens", "audio_tokens", "video_tokens")


class Window(msgspec.Struct, frozen=True):
    """One client in one window of time."""

    client: int | str
    t: float
    rate: float
    pat: str
    shape: float
    q: dict[str, list[float]] = {}
    line: int = 0


@dataclass(frozen=True)
class _Drawn:
    arrival_s: Floats
    prompt: Ints
    output: Ints
    clients: list[str]
    lines: Ints


def looks_so(head: bytes) -> bool:
    """Say whether the first line is one window of one client."""
    return {"client", "t", "rate", "pat", "shape"} <= set(first_record(head))


def read(file: IO[bytes], where: str, options: Options) -> Rows:
    """Draw requests from a model of clients, as ServeGen publishes them.

    Notes
    -----
    In each window a client's gaps are independent, of a gamma or Weibull distribution with the given ``shape``, scaled
    so that it asks at its ``rate``. Prompt and output lengths are drawn from their quantiles, each apart from the
    other; the parts of a prompt (text, images, audio, video) are added up. A client without lengths is left out.
    Drawing ends at `end_s` or with `max_requests`, whichever comes first; after 100,000 where neither is given.

    Source: Y. Xiang et al., "ServeGen: Workload Characterization and Generation of Large Language Model Serving in
    Production", 2025, arXiv 2505.09999, section 5.
    """
    windows = _windows(file, where, options)
    starts = sorted({window.t for window in windows})
    window_s = min(np.diff(starts), default=WINDOW_S)
    rng = np.random.default_rng(options.seed)
    parts: list[_Drawn] = []
    num, most = 0, options.max_requests or (MAX_REQUESTS if options.end_s is None else sys.maxsize)
    for start_s, group in groupby(windows, key=lambda window: window.t):
        if start_s + window_s <= options.start_s:
            continue
        if num >= most or (options.end_s is not None and start_s >= options.end_s):
            break
        drawn = [_draw(window, float(window_s), rng) for window in group if window.q]
        parts.append(_in_order(drawn, options.start_s))
        num += len(parts[-1].arrival_s)
    return _rows(parts, where, most)


def _windows(file: IO[bytes], where: str, options: Options) -> list[Window]:
    """Return the windows in order of time, lengths carried forward from the last that a client had."""
    lengths: dict[Any, dict[str, list[float]]] = {}
    found = []
    for record, line in _numbered(file, where, options):
        try:
            window = msgspec.convert({**record, "line": line}, Window)
        except msgspec.ValidationError as error:
            raise TraceError(f"{where}, line {line}: must be one window of one client, got: {error}.") from error
        _check(window, where)
        quantiles = lengths[window.client] = window.q or lengths.get(window.client, {})
        found.append(msgspec.structs.replace(window, q=quantiles))
    return sorted(found, key=lambda window: window.t)


def _numbered(file: IO[bytes], where: str, options: Options) -> Iterator[tuple[dict[str, Any], int]]:
    for objects, lines in records(file, where, options):
        yield from zip(objects, lines.tolist(), strict=True)


def _check(window: Window, where: str) -> None:
    is_known = window.pat in ("Gamma", "Weibull")
    if not is_known or not window.rate > 0 or not window.shape > 0:
        raise TraceError(
            f"{where}, line {window.line}: must have rate > 0, shape > 0 and pat Gamma or Weibull, got "
            f"{window.rate}, {window.shape} and {window.pat!r}. Mend the line."
        )
    if window.q and not ("output_tokens" in window.q and any(part in window.q for part in PROMPT_PARTS)):
        raise TraceError(f"{where}, line {window.line}: q must have both lengths, got {', '.join(window.q)}.")


def _draw(window: Window, window_s: float, rng: np.random.Generator) -> _Drawn:
    at_s = _times(window, window_s, rng)
    num = len(at_s)
    prompt = sum((_lengths(window.q[part], num, rng) for part in PROMPT_PARTS if part in window.q), np.zeros(num))
    output = _lengths(window.q["output_tokens"], num, rng)
    lines = np.full(num, window.line)
    return _Drawn(window.t + at_s, whole(prompt), whole(output), [str(window.client)] * num, lines)


def _times(window: Window, window_s: float, rng: np.random.Generator) -> Floats:
    """Return arrivals within one window; the process begins anew in each."""
    expected = window.rate * window_s
    batch = int(expected + 4 * math.sqrt(expected / min(window.shape, 1.0)) + 8)
    times = np.zeros(1)
    while times[-1] < window_s:
        times = np.concatenate([times, times[-1] + np.cumsum(_gaps(window, batch, rng))])
    return times[1:][times[1:] < window_s]


def _gaps(window: Window, num: int, rng: np.random.Generator) -> Floats:
    if window.pat == "Gamma":
        return rng.standard_gamma(window.shape, num) / (window.shape * window.rate)
    return rng.weibull(window.shape, num) / (math.gamma(1 + 1 / window.shape) * window.rate)


def _lengths(quantiles: list[float], num: int, rng: np.random.Generator) -> Floats:
    return np.interp(rng.random(num), np.linspace(0, 1, len(quantiles)), quantiles)


def _in_order(parts: list[_Drawn], start_s: float) -> _Drawn:
    whole_part = _joined(parts)
    order = np.argsort(whole_part.arrival_s, kind="stable")
    order = order[whole_part.arrival_s[order] >= start_s]
    return _Drawn(
        whole_part.arrival_s[order], whole_part.prompt[order], whole_part.output[order],
        [whole_part.clients[row] for row in order.tolist()], whole_part.lines[order],
    )  # fmt: skip


def _joined(parts: list[_Drawn]) -> _Drawn:
    if not parts:
        none = np.empty(0, np.int64)
        return _Drawn(np.empty(0), none, none, [], none)
    return _Drawn(
        np.concatenate([part.arrival_s for part in parts]), np.concatenate([part.prompt for part in parts]),
        np.concatenate([part.output for part in parts]), [name for part in parts for name in part.clients],
        np.concatenate([part.lines for part in parts]),
    )  # fmt: skip


def _rows(parts: list[_Drawn], where: str, most: int) -> Rows:
    drawn = _joined(parts)
    columns = {"arrival_s": drawn.arrival_s, **lengths_of(drawn.prompt, drawn.output)}
    rows = Rows(where, drawn.lines, columns, {"tenant": Labels.of(drawn.clients)})
    return rows.take(np.arange(min(most, len(drawn.lines))))
