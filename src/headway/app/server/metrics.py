"""Counts what happens and writes it down for Prometheus, under our names and, if wanted, under vLLM's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from headway.app.server.histogram import Histogram
from headway.app.server.metric_names import METRICS, Metric
from headway.engines.llm.messages import Gauges

FAMILIES: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
ALIAS_LABELS = ("model_name", "engine")


class Metrics(Collector):
    """The numbers of one server.

    Parameters
    ----------
    aliases : bool
        Whether vLLM's names are written too.

    Attributes
    ----------
    model, policy : str
        Labels, known once the engine is ready.
    """

    def __init__(self, aliases: bool = True) -> None:
        self.aliases = aliases
        self.model = self.policy = ""
        self._values: dict[str, defaultdict[tuple[str, ...], float]] = {}
        self.histograms = {m.name: Histogram(m.bounds) for m in METRICS if m.kind == "histogram"}
        for metric in METRICS:
            self._values[metric.name] = defaultdict(float)
            if not metric.labels and metric.kind != "histogram":
                self._values[metric.name][()] = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def count(self, name: str, labels: tuple[str, ...] = (), by: float = 1) -> None:
        """Let a counter grow."""
        self._values[name][labels] += by

    def put(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Set a gauge, or a counter that somebody else counts."""
        self._values[name][labels] = value

    def value(self, name: str, labels: tuple[str, ...] = ()) -> float:
        """Read a counter or gauge."""
        return self._values[name][labels]

    def take(self, gauges: Gauges) -> None:
        """Take over what the engine says of itself; its counters begin anew when it does, as Prometheus expects."""
        self.put("headway_running", gauges.running)
        self.put("headway_waiting", gauges.waiting)
        self.put("headway_kv_used_frac", gauges.kv_used_frac)
        self.put("headway_kv_free_blocks", gauges.kv_free_blocks)
        self.put("headway_prefix_cache_queries", gauges.prefix_queried_tokens)
        self.put("headway_prefix_cache_hits", gauges.prefix_hit_tokens)
        self.put("headway_steps", gauges.num_steps)
        self.put("headway_step_seconds", gauges.step_s)
        self.put("headway_preempted", gauges.num_preempted, ("requeue",))
        self.put("headway_actions_refused", gauges.num_refused)
        self.put("headway_tuning_seconds", gauges.tune_s)
        self.put("headway_tuning_lent_blocks", gauges.tune_blocks)
        for stat, value in gauges.decide_s.items():
            self.put("headway_decide_seconds", value, (self.policy, stat))
        for row in gauges.slos:
            self.put("headway_slo_met", row.met, (row.slo_class, row.metric))
            self.put("headway_slo_missed", row.missed, (row.slo_class, row.metric))

    def render(self, accept: str) -> tuple[bytes, str]:
        """Write everything down in the format that is asked for; returns the text and its media type."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def collect(self) -> Iterator[Family]:
        """Yield all metrics, as `prometheus_client` asks."""
        for metric in METRICS:
            yield self._family(metric, metric.name, (), ())
            if self.aliases and metric.alias:
                yield self._family(metric, metric.alias, ALIAS_LABELS, (self.model, "0"))

    def _family(self, metric: Metric, name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> Family:
        own = metric.alias_labels if labels and metric.alias_labels else metric.labels
        if metric.kind == "histogram":
            return self._histogram(metric, name, labels, values)
        family: Family = FAMILIES[metric.kind](name, metric.text, labels=(*labels, *own))
        for key, value in self._values[metric.name].items():
            family.add_metric((*values, *key), value)  # type: ignore[attr-defined]
        return family

    def _histogram(self, metric: Metric, name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> Family:
        family = HistogramMetricFamily(name, metric.text, labels=labels)
        seen = self.histograms[metric.name]
        family.add_metric(values, buckets=seen.cumulative(), sum_value=seen.total)
        return family
