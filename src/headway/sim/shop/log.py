"""What became of the jobs of a shop, and what ran when on which machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headway.core.events import Changed, Event, Failed
from headway.core.nouns import Id
from headway.core.scenario import Columns
from headway.core.slo import SloClass, SloRow
from headway.policies.shop.nouns import ShopJob, ShopJobArrived, ShopJobFinished, TaskDone, TaskStopped, job_of

MAX_SPANS = 5000
METRICS = ("flow_time_s", "tardiness_s")
PERCENTS = (50, 90, 95, 99)


class JobLog:
    """An instrument that keeps one row per finished job, and the first spans for timelines."""

    hears = (ShopJobArrived, ShopJobFinished, Failed, TaskDone, TaskStopped, Changed)

    def __init__(self) -> None:
        self.num_rejected = 0
        self.num_stopped = 0
        self.num_breakdowns = 0
        self._open: dict[Id, ShopJob] = {}
        self._rows: list[tuple[float, float, float, float]] = []
        self._spans: list[tuple[float, float, Id, Id]] = []

    @property
    def num_unfinished(self) -> int:
        """How many jobs are here and not finished."""
        return len(self._open)

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, TaskDone | TaskStopped):
            self.num_stopped += type(event) is TaskStopped
            if len(self._spans) < MAX_SPANS and event.machine:
                self._spans.append((event.start_s, event.at_s, event.machine, job_of(event.task)))
        elif isinstance(event, ShopJobFinished):
            job = self._open.pop(event.id)
            self._rows.append((job.arrival_s, event.flow_time_s, event.tardiness_s, job.weight))
        elif isinstance(event, ShopJobArrived):
            self._open[event.work.id] = event.work
        elif isinstance(event, Failed):
            self.num_rejected += self._open.pop(event.id, None) is not None
        elif isinstance(event, Changed):
            self.num_breakdowns += not event.up

    def works(self, classes: Sequence[SloClass]) -> dict[str, np.ndarray]:
        """Return the columns of `Outcome.works`."""
        rows = np.array(self._rows, np.float64).reshape(-1, 4)
        found = {name: rows[:, n] for n, name in enumerate(("arrival_s", *METRICS, "weight"))}
        good = np.ones(len(rows), bool)
        for slo in [slo for promise in classes if promise.name == "default" for slo in promise.slos]:
            good &= found[slo.metric] <= slo.bound
        return found | {"good": good}

    def spans(self) -> Columns:
        """Return the columns of `Outcome.spans`: what ran at the beginning of the run, named by job."""
        start, end, resource, name = zip(*self._spans, strict=True) if self._spans else ((), (), (), ())
        return {
            "start_s": np.array(start, np.float64),
            "end_s": np.array(end, np.float64),
            "resource": np.array(resource, dtype=str),
            "name": np.array(name, dtype=str),
        }


def times(works: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return mean and percentiles of every time that jobs have."""
    found: dict[str, float] = {}
    for metric in METRICS:
        values = works[metric]
        found[f"mean_{metric}"] = float(values.mean()) if len(values) else np.nan
        for percent in PERCENTS:
            found[f"p{percent}_{metric}"] = float(np.quantile(values, percent / 100)) if len(values) else np.nan
    return found


def slo_rows(works: Mapping[str, np.ndarray], num_lost: int, classes: Sequence[SloClass]) -> list[SloRow]:
    """Return how each promise fared; jobs that never finished have missed all of theirs."""
    return [
        SloRow(
            slo_class=promise.name,
            metric=slo.metric,
            bound=slo.bound,
            quantile=slo.quantile,
            met=(met := int((works[slo.metric] <= slo.bound).sum())),
            missed=len(works[slo.metric]) - met + num_lost,
        )
        for promise in classes
        for slo in promise.slos
    ]
