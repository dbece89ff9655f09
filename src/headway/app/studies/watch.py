"""Stop a run as soon as it can no longer be what was hoped for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from headway.core.events import Arrived, Event, Failed, Finished
from headway.core.nouns import Id

Bounds = Mapping[str, Mapping[str, float]]
"""By class, the largest value of each metric that is good."""

Hear = Callable[[Any], None]


class StopRun(Exception):
    """Raised out of a run that is of no more use."""


class Watch:
    """Counts works that missed an objective; an instrument of a run, and who is told of its progress.

    Parameters
    ----------
    bounds : dict of str to dict of str to float
        By class, the largest value of each metric that is good.
    may_miss : callable of (int) -> float
        Given how many works there are, how many may miss; one more ends the run.
    """

    def __init__(self, bounds: Bounds, may_miss: Callable[[int], float]) -> None:
        self.num_missed = 0
        self.num_all = 0
        self._bounds = bounds
        self._may_miss = may_miss
        self._class_of: dict[Id, str] = {}
        self._heard: dict[type[Event], Hear] = {Arrived: self._arrive, Finished: self._finish, Failed: self._fail}
        self._hear: dict[type[Event], Hear] = {}

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        kind = type(event)
        hear = self._hear.get(kind)
        if hear is None:  # most events are of kinds that do not matter here
            hear = self._hear[kind] = next((h for base, h in self._heard.items() if issubclass(kind, base)), _pass)
        hear(event)

    def _arrive(self, event: Any) -> None:
        self._class_of[event.work.id] = getattr(event.work, "slo_class", event.work.tenant)

    def _finish(self, event: Any) -> None:
        bounds = self._bounds.get(self._class_of.pop(event.id, ""), {})
        self.num_missed += any(getattr(event, metric, 0.0) > bound for metric, bound in bounds.items())

    def _fail(self, event: Any) -> None:
        self.num_missed += self._class_of.pop(event.id, None) is not None

    def __call__(self, _num_ended: int, num_all: int) -> None:
        """Hear of progress.

        Raises
        ------
        StopRun
            When too many have missed already.
        """
        self.num_all = num_all
        if self.num_missed > self._may_miss(num_all):
            raise StopRun


def _pass(_: Any) -> None:
    pass


def bounds_in(tables: Iterable[Mapping[str, object]]) -> dict[str, dict[str, float]]:
    """Read the bounds of the ``[[slo]]`` tables of a recipe: whatever is a time in seconds there.

    Examples
    --------
    >>> bounds_in([{"name": "chat", "ttft_s": 1, "tpot_s": 0.05, "quantile": 0.9}])
    {'chat': {'ttft_s': 1.0, 'tpot_s': 0.05}}
    """
    found: dict[str, dict[str, float]] = {}
    for table in tables:
        times = {key: float(v) for key, v in table.items() if key.endswith("_s") and isinstance(v, int | float)}
        found.setdefault(str(table.get("name", "default")), {}).update(times)
    return found
