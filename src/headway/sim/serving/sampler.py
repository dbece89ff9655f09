"""The state of instances over time, thinned out so that a long run keeps as little as a short one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.core.scenario import Columns
from headway.policies.serving.nouns import StepDone
from headway.policies.serving.state import InstanceState

MAX_SAMPLES = 2000
"""Kept of each instance; when there are more, every second is dropped and they are taken half as often."""
MAX_SPANS = 5000


class Sampler:
    """An instrument that notes, at the ends of steps, how full every instance is and what it has just run.

    Parameters
    ----------
    instances : mapping of str to InstanceState
        What to look at.
    """

    hears = (StepDone,)

    def __init__(self, instances: Mapping[Id, InstanceState]) -> None:
        self._instances = instances
        self._rows: dict[Id, list[tuple[float, ...]]] = {name: [] for name in instances}
        self._gap_s: dict[Id, Seconds] = dict.fromkeys(instances, 0.0)
        self._spans: list[tuple[float, float, Id, str]] = []

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        if not isinstance(event, StepDone):
            return
        if len(self._spans) < MAX_SPANS:
            self._note_spans(event)
        rows = self._rows.get(event.instance)
        if rows is None or (rows and event.at_s < rows[-1][0] + self._gap_s[event.instance]):
            return
        rows.append(self._look(event))
        if len(rows) >= MAX_SAMPLES:
            del rows[1::2]
            self._gap_s[event.instance] = (rows[-1][0] - rows[0][0]) / len(rows)

    def _note_spans(self, event: StepDone) -> None:
        """Note what an instance has run; fine-tuning has a row of its own below that of its instance."""
        begin_s, end_s, instance = event.at_s - event.step_s, event.at_s, event.instance
        if event.pieces_s is None or event.num_tokens:
            kind = "decode" if event.num_runs > 1 or event.num_tokens <= self._num_running(event) else "prompts"
            pieces_s = event.step_s if event.pieces_s is None else event.pieces_s
            self._spans.append((begin_s, begin_s + pieces_s, instance, kind))
        if event.tune_s:
            follows = event.tune_s + (event.pieces_s or 0.0) <= event.step_s * (1 + 1e-9)
            since_s = end_s - event.tune_s if follows else begin_s
            self._spans.append((since_s, since_s + event.tune_s, f"{instance} tuning", "unit"))

    def _num_running(self, event: StepDone) -> int:
        return self._instances[event.instance].num_running

    def _look(self, event: StepDone) -> tuple[float, ...]:
        instance = self._instances[event.instance]
        tokens = event.num_tokens / event.num_runs
        return event.at_s, len(instance.waiting), instance.num_running, instance.kv.used_frac, tokens

    def samples(self) -> Columns:
        """Return the columns of `Outcome.samples`."""
        names = [name for name, rows in self._rows.items() for _ in rows]
        values = np.array([row for rows in self._rows.values() for row in rows], np.float64).reshape(-1, 5)
        columns = ("at_s", "waiting", "running", "kv_used_frac", "batch_tokens")
        return {"resource": np.array(names, dtype=str), **{n: values[:, i] for i, n in enumerate(columns)}}

    def spans(self) -> Columns:
        """Return the columns of `Outcome.spans`: what ran at the beginning of the run."""
        start, end, resource, name = zip(*self._spans, strict=True) if self._spans else ((), (), (), ())
        return {
            "start_s": np.array(start, np.float64),
            "end_s": np.array(end, np.float64),
            "resource": np.array(resource, dtype=str),
            "name": np.array(name, dtype=str),
        }
