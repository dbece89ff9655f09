"""What every request of a run felt, in columns, and the numbers that follow from them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from headway.core.events import Event, Failed
from headway.core.slo import SloClass, SloRow
from headway.policies.serving.nouns import RequestFinished
from headway.traces.table import RequestTable

METRICS = ("queue_s", "ttft_s", "tpot_s", "e2e_s")
PERCENTS = (50, 90, 95, 99)

Floats = npt.NDArray[np.float64]


class RequestLog:
    """An instrument that keeps, of every request, what its sender felt.

    Attributes
    ----------
    num_ended : int
        Requests that were served or turned away.
    """

    hears = (RequestFinished, Failed)

    def __init__(self) -> None:
        self._row = array("q")
        self._metrics = {name: array("d") for name in METRICS}
        self._end_s = array("d")
        self._cached, self._preempted = array("q"), array("q")
        self._rejected: list[int] = []

    @property
    def num_ended(self) -> int:
        """Requests that were served or turned away."""
        return len(self._row) + len(self._rejected)

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, RequestFinished):
            self._row.append(int(event.id))
            self._end_s.append(event.at_s)
            metrics = self._metrics
            metrics["queue_s"].append(event.queue_s)
            metrics["ttft_s"].append(event.ttft_s)
            metrics["tpot_s"].append(event.tpot_s if event.output_tokens > 1 else np.nan)
            metrics["e2e_s"].append(event.e2e_s)
            self._cached.append(event.cached_tokens)
            self._preempted.append(event.num_preempted)
        elif isinstance(event, Failed):
            self._rejected.append(int(event.id))

    def sessions(self, table: RequestTable) -> dict[str, Floats]:
        """Return what the senders of whole chains felt: of those all of whose requests ended, in order of their ends.

        ``"jct_s"`` is the time from the first arrival of a chain to its last end, in seconds, and ``"due_s"`` within
        what time it was promised; empty where no request comes after another.
        """
        row = np.frombuffer(self._row, np.int64) if self._row else np.empty(0, np.int64)
        if table.after is None or not len(row):
            return {"jct_s": np.empty(0), "due_s": np.empty(0)}
        roots, end_s = table.roots(), np.frombuffer(self._end_s, np.float64)
        last_s = np.zeros(len(table))
        np.maximum.at(last_s, roots[row], end_s)
        whole = np.flatnonzero(
            np.bincount(roots, minlength=len(table)) == np.bincount(roots[row], minlength=len(table))
        )
        whole = whole[np.isin(whole, session_rows(table))]
        whole = whole[np.argsort(last_s[whole], kind="stable")]
        due_s = np.full(len(table), np.nan) if table.due_s is None else table.due_s
        return {"jct_s": last_s[whole] - table.arrival_s[whole], "due_s": due_s[whole]}

    def works(self, table: RequestTable, classes: Sequence[SloClass]) -> dict[str, npt.NDArray[np.generic]]:
        """Return the columns of `Outcome.works`, in the order in which requests ended."""
        row = np.frombuffer(self._row, np.int64) if self._row else np.empty(0, np.int64)
        columns: dict[str, npt.NDArray[np.generic]] = {"row": row, "arrival_s": table.arrival_s[row]}
        if table.after is not None and len(row):  # who follows another came when that had ended, not when recorded
            end_s, e2e_s = np.frombuffer(self._end_s, np.float64), np.frombuffer(self._metrics["e2e_s"], np.float64)
            columns["arrival_s"] = np.where(table.after[row] >= 0, end_s - e2e_s, columns["arrival_s"])
        for name, values in self._metrics.items():
            columns[name] = np.frombuffer(values, np.float64) if values else np.empty(0)
        columns |= {"prompt_tokens": table.prompt_tokens[row], "output_tokens": table.output_tokens[row]}
        columns["cached_tokens"] = np.array(self._cached, np.int64)
        columns["num_preempted"] = np.array(self._preempted, np.int64)
        columns["slo_class"] = class_of(table, row)
        columns["good"] = good(columns, classes)
        return columns

    def rejected(self) -> npt.NDArray[np.int64]:
        """Return the rows of those that were turned away."""
        return np.array(self._rejected, np.int64)


def class_of(table: RequestTable, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    """Return the SLO class of some requests, by name."""
    labels = table.labels.get("slo_class")
    if labels is None:
        return np.full(len(rows), "default")
    names = [name or "default" for name in labels.names]  # as a request without a class is served
    return np.array(names, dtype=str)[labels.codes[rows]]


def good(columns: Mapping[str, npt.NDArray[np.generic]], classes: Sequence[SloClass]) -> npt.NDArray[np.bool_]:
    """Return whether each request met every objective of its class; one without a metric misses none of it."""
    fine = np.ones(len(columns["row"]), bool)
    for slo_class in classes:
        mine = columns["slo_class"] == slo_class.name
        for slo in slo_class.slos:
            fine &= ~(mine & (columns[slo.metric] > slo.bound))  # type: ignore[operator]
    return fine


def slo_rows(
    columns: Mapping[str, npt.NDArray[np.generic]], missed: npt.NDArray[np.str_], classes: Sequence[SloClass]
) -> list[SloRow]:
    """Return how each objective fared; `missed` are the classes of requests that were turned away."""
    rows = []
    for slo_class in classes:
        mine = columns["slo_class"] == slo_class.name
        num_lost = int((missed == slo_class.name).sum())
        for slo in slo_class.slos:
            values: Floats = columns[slo.metric][mine].astype(np.float64)
            values = values[np.isfinite(values)]
            num_met = int((values <= slo.bound).sum())
            rows.append(
                SloRow(
                    slo_class=slo_class.name,
                    metric=slo.metric,
                    bound=slo.bound,
                    quantile=slo.quantile,
                    met=num_met,
                    missed=len(values) - num_met + num_lost,
                )
            )
    return rows


def session_rows(table: RequestTable) -> npt.NDArray[np.int64]:
    """Return the rows with which sessions begin: chains of several requests, and requests that name their session."""
    if table.after is None:
        return np.empty(0, np.int64)
    lengths = np.bincount(table.roots(), minlength=len(table))
    named = table.labels.get("session")
    is_named = np.zeros(len(table), bool) if named is None else np.array([bool(n) for n in named.names])[named.codes]
    return np.flatnonzero((lengths > 1) | (is_named & (table.after < 0) & (lengths > 0)))


def session_numbers(sessions: Mapping[str, Floats], num: int, duration_s: float) -> dict[str, float]:
    """Return what came of `num` chains: times, how many ended per second, and the share of them that was in time."""
    jct_s, due_s = sessions["jct_s"], sessions["due_s"]
    if not num:
        return {}
    in_time = float((jct_s <= np.where(np.isnan(due_s), np.inf, due_s)).sum()) / num
    per_s = {"sessions_per_s": len(jct_s) / duration_s if duration_s > 0 else np.nan, "sessions_in_time_frac": in_time}
    return percentiles(sessions, ("jct_s",)) | per_s


def percentiles(columns: Mapping[str, npt.NDArray[np.generic]], metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """Return mean and percentiles of every metric, exactly; NaN where nobody has it."""
    found: dict[str, float] = {}
    for name in metrics:
        values: Floats = columns[name].astype(np.float64)
        values = values[np.isfinite(values)]
        some = len(values) > 0
        found[f"mean_{name}"] = float(values.mean()) if some else np.nan
        points = np.percentile(values, PERCENTS).tolist() if some else [np.nan] * len(PERCENTS)
        found |= {f"p{percent}_{name}": point for percent, point in zip(PERCENTS, points, strict=True)}
    return found
