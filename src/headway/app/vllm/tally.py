"""What the senders of requests felt at the door, counted beside vLLM's own metrics and under our server's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from headway.app.server.metric_names import METRICS
from headway.app.server.promises import Promise
from headway.core.nouns import Seconds, Slo
from headway.core.slo import SloClass

KINDS: dict[str, Any] = {"counter": Counter, "histogram": Histogram}
COUNTED = (
    "headway_finished", "headway_refused", "headway_slo_met", "headway_slo_missed", "headway_ttft_seconds",
    "headway_tpot_seconds", "headway_e2e_seconds",
)  # fmt: skip
"""The metrics of our server that a door can count."""


class Felt(Struct, frozen=True, kw_only=True):
    """What the sender of one request felt; None where it could not be felt.

    Parameters
    ----------
    ttft_s : float or None
        From arrival to the first token of a stream.
    tpot_s : float or None
        Mean time per token after the first one of a stream.
    e2e_s : float
        From arrival to the end.
    """

    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None
    e2e_s: Seconds

    @property
    def metrics(self) -> dict[str, float]:
        """Those that were felt, by name."""
        felt = {"ttft_s": self.ttft_s, "tpot_s": self.tpot_s, "e2e_s": self.e2e_s}
        return {name: value for name, value in felt.items() if value is not None}


class Tally:
    """Counts answers by how they ended, and how each objective fared.

    A request that was turned away met nothing that it was promised. Objectives that a request brought itself stand in
    for those of its class on the same metric, and are not counted for the class.

    Parameters
    ----------
    classes : sequence of SloClass
        The promises.
    registry : CollectorRegistry
        Where the metrics are written down; vLLM's ``/metrics`` shows the process's default one.
    """

    def __init__(self, classes: Sequence[SloClass], registry: CollectorRegistry = REGISTRY) -> None:
        self._slos = {slo_class.name: slo_class.slos for slo_class in classes}
        self._metrics = _metrics(registry)

    def refused(self, code: str) -> None:
        """Count a request that never reached vLLM."""
        self._metrics["headway_refused"].labels(code).inc()

    def ended(self, reason: str) -> None:
        """Count a request that ended without all of its output."""
        self._metrics["headway_finished"].labels(reason).inc()

    def turned_away(self, promise: Promise, reason: str) -> None:
        """Count a request that ended without output."""
        self.ended(reason)
        if reason == "rejected":
            for slo in self._counted(promise):
                self._metrics["headway_slo_missed"].labels(promise.slo_class, slo.metric).inc()

    def finished(self, promise: Promise, felt: Felt, reason: str) -> None:
        """Count an answer that came to its end."""
        self._metrics["headway_finished"].labels(reason).inc()
        metrics = felt.metrics
        for name, value in metrics.items():
            self._metrics[f"headway_{name.removesuffix('_s')}_seconds"].observe(value)
        for slo in self._counted(promise):
            if slo.metric in metrics:
                name = "headway_slo_met" if metrics[slo.metric] <= slo.bound else "headway_slo_missed"
                self._metrics[name].labels(promise.slo_class, slo.metric).inc()

    def _counted(self, promise: Promise) -> list[Slo]:
        own = {"ttft_s": promise.ttft_s, "tpot_s": promise.tpot_s, "e2e_s": promise.deadline_s}
        return [slo for slo in self._slos.get(promise.slo_class, ()) if own.get(slo.metric) is None]


@cache
def _metrics(registry: CollectorRegistry) -> Mapping[str, Any]:
    """Make the metrics, once per registry: a process has one, however many doors it builds."""
    made = {}
    for metric in METRICS:
        if metric.name in COUNTED:
            options: dict[str, Any] = {"buckets": metric.bounds} if metric.kind == "histogram" else {}
            made[metric.name] = KINDS[metric.kind](
                metric.name, metric.text, metric.labels, registry=registry, **options
            )
    return made
