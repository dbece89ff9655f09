"""A scenario: a setting in which any policy of a family can be played in virtual time, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from headway.core.policy import Policy
from headway.core.report import Report
from headway.core.session import Instrument
from headway.core.trace import TraceSink

Columns = Mapping[str, npt.NDArray[Any]]
"""Arrays of equal length, by name."""
OnProgress = Callable[[int, int], None]
"""Told how many works have ended, and how many there are."""


@dataclass(frozen=True)
class Outcome:
    """What one run came to, with enough kept to draw it.

    Parameters
    ----------
    report : Report
        The numbers.
    works : dict of str to array
        One value per work that ended, in the order of their ends: ``"arrival_s"``, the family's metrics, labels.
    samples : dict of str to array
        The state over time, thinned out: ``"at_s"``, ``"resource"``, and what the family samples.
    spans : dict of str to array
        What ran when, thinned out: ``"start_s"``, ``"end_s"``, ``"resource"``, ``"name"``. For timelines.
    """

    report: Report
    works: Columns = field(default_factory=dict)
    samples: Columns = field(default_factory=dict)
    spans: Columns = field(default_factory=dict)

    def quantile(self, metric: str, quantile: float) -> float:
        """Return an exact quantile of a metric of `works`, or NaN when nobody has it."""
        values = self.works.get(metric, np.empty(0))
        values = values[np.isfinite(values)]
        return float(np.quantile(values, quantile)) if len(values) else float("nan")


class Scenario(Protocol):
    """One family's setting: what arrives, on which hardware, under which promises.

    Its constructor takes keywords, which are what a recipe file says about the setting.
    """

    def play(
        self,
        policy: Policy[Any],
        *,
        seed: int = 0,
        load: float = 1.0,
        trace: TraceSink | None = None,
        instruments: Sequence[Instrument] = (),
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """Play one run from its start to its end.

        Parameters
        ----------
        policy : Policy
            Who decides.
        seed : int
            Of everything random; equal seeds give every policy the same arrivals and the same truth.
        load : float
            Factor on the rate of arrivals, > 0.
        trace : TraceSink or None
            Where the conversation is written.
        instruments : sequence of Instrument
            Who else listens.
        on_progress : callable or None
            Called now and then.
        """
