"""Keeping count of service-level objectives, and of every metric they speak about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.events import Arrived, Event, Failed, Finished, Started
from headway.core.nouns import Id, Slo
from headway.core.quantiles import Quantiles


class SloClass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named promise: the objectives that one kind of customer is given.

    Parameters
    ----------
    name : str
        What a request names to be served under it, for example ``"interactive"``.
    slos : tuple of Slo
        Its objectives; none means best effort.
    priority : int
        Priority of its work unless the work says otherwise; larger is more important.
    """

    name: str
    slos: tuple[Slo, ...] = ()
    priority: int = 0

    def __post_init__(self) -> None:
        for slo in self.slos:
            if slo.bound <= 0 or not 0 < slo.quantile <= 1:
                raise ConfigError(
                    f"SLO class {self.name!r}: bound must be > 0 and quantile in (0, 1], got bound={slo.bound}, "
                    f"quantile={slo.quantile} for {slo.metric}. Try bound=1.0 and quantile=0.99."
                )


class SloRow(Struct, frozen=True, kw_only=True):
    """How one objective of one class fared."""

    slo_class: str
    metric: str
    bound: float
    quantile: float
    met: int
    missed: int

    @property
    def met_frac(self) -> float:
        """Share of the work that met the bound; 1 when there was none."""
        return self.met / (self.met + self.missed) if self.met + self.missed else 1.0

    @property
    def attained(self) -> bool:
        """Whether the promised share met the bound."""
        return self.met_frac >= self.quantile


class SloLedger:
    """Counts, per class and objective, how much work met its bound; keeps quantiles of every metric seen.

    Parameters
    ----------
    classes : sequence of SloClass
        The promises; work of an unnamed class is counted without objectives.
    """

    def __init__(self, classes: Sequence[SloClass] = ()) -> None:
        self._classes = {slo_class.name: slo_class for slo_class in classes}
        self._counts = {(c.name, slo): [0, 0] for c in classes for slo in c.slos}
        self._quantiles: dict[str, Quantiles] = {}
        self.num_good = 0
        self.num_seen = 0

    def record(self, slo_class: str, metrics: Mapping[str, float], own: Sequence[Slo] = ()) -> bool:
        """Count one finished work with its metrics; says whether it met all its objectives.

        `own` are objectives the work itself brought; they stand in for those of its class on the same metric.
        """
        for name, value in metrics.items():
            self._quantiles.setdefault(name, Quantiles()).add(value)
        overridden = {slo.metric for slo in own}
        good = all(metrics.get(slo.metric, 0.0) <= slo.bound for slo in own)
        promise = self._classes.get(slo_class)
        for slo in promise.slos if promise else ():
            if slo.metric in metrics and slo.metric not in overridden:
                met = metrics[slo.metric] <= slo.bound
                self._counts[slo_class, slo][0 if met else 1] += 1
                good = good and met
        self.num_seen += 1
        self.num_good += good
        return good

    def miss(self, slo_class: str, own: Sequence[Slo] = ()) -> None:
        """Count one work that was turned away or failed: it has no metrics, and met nothing it was promised."""
        overridden = {slo.metric for slo in own}
        promise = self._classes.get(slo_class)
        for slo in promise.slos if promise else ():
            if slo.metric not in overridden:
                self._counts[slo_class, slo][1] += 1
        self.num_seen += 1

    def rows(self) -> list[SloRow]:
        """One row per class and objective, in the order in which they were promised."""
        return [
            SloRow(slo_class=name, metric=s.metric, bound=s.bound, quantile=s.quantile, met=met, missed=missed)
            for (name, s), (met, missed) in self._counts.items()
        ]

    def numbers(self) -> dict[str, float]:
        """Mean and quantiles of every metric, plus the share of work that met everything it was promised."""
        out = {"goodput_frac": self.num_good / self.num_seen} if self.num_seen else {}
        for name, quantiles in self._quantiles.items():
            out[f"mean_{name}"] = quantiles.mean
            for percent in (50, 90, 95, 99):
                out[f"p{percent}_{name}"] = quantiles.at(percent / 100)
        return out


class WorkAccounts:
    """The accounts of plain work: `queue_s` from arrival to start, `run_s` from start to finish, `e2e_s` for both.

    It is an instrument of a session; families with richer metrics bring their own.

    Parameters
    ----------
    classes : sequence of SloClass
        The promises; the class of a work is its tenant.
    """

    def __init__(self, classes: Sequence[SloClass] = ()) -> None:
        self.ledger = SloLedger(classes)
        self._open: dict[Id, tuple[float, float, str]] = {}

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, Arrived):
            self._open[event.work.id] = (event.at_s, event.at_s, event.work.tenant)
        elif isinstance(event, Started) and event.id in self._open:
            arrival_s, _, tenant = self._open[event.id]
            self._open[event.id] = (arrival_s, event.at_s, tenant)
        elif isinstance(event, Finished) and event.id in self._open:
            arrival_s, start_s, tenant = self._open.pop(event.id)
            self.ledger.record(tenant, self._metrics(arrival_s, start_s, event.at_s))
        elif isinstance(event, Failed):
            self._open.pop(event.id, None)

    @staticmethod
    def _metrics(arrival_s: float, start_s: float, end_s: float) -> dict[str, float]:
        return {"queue_s": start_s - arrival_s, "run_s": end_s - start_s, "e2e_s": end_s - arrival_s}
