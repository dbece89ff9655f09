"""Hardware of its own for fine-tuning: some instances train, the others serve."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.harli import next_layers


class Dedicated:
    """Sets the last instances apart for fine-tuning; nothing is shared.

    Of a single instance nothing can be set apart: it serves, and jobs wait.

    Parameters
    ----------
    serve : str or table
        Who serves; ``"serving/sarathi"``.
    num_trainers : int
        How many instances train, >= 1; one at least is left to serve.

    Source
    ------
    This project's reading of separate hardware, one of the baselines that the specification of Harli (arXiv 2511.11729)
    lists.
    """

    gives_back = False
    low_free_frac = high_free_frac = 0.0

    def __init__(self, *, serve: str | dict[str, Any] = "serving/sarathi", num_trainers: int = 1) -> None:
        if num_trainers < 1:
            raise ConfigError(f"tuning/dedicated: num_trainers must be >= 1, got {num_trainers}. Try 1.")
        self.serve = serve
        self.num_trainers = num_trainers
        self._apart: tuple[Id, ...] | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Forget who was set apart."""
        self._apart = None

    def hear(self, event: Event, view: ServingView) -> None:
        """Nothing to learn."""

    def trains_at(self, view: ServingView) -> Collection[Id]:
        """Return the instances that are set apart: the same from the first look on."""
        if self._apart is None:
            names = list(view.instances)
            self._apart = tuple(names[max(1, len(names) - self.num_trainers) :])
        return self._apart

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        """Return a step as it is."""
        return step

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        """Return the rest of a microbatch at once: nobody waits for it."""
        return Step(instance=instance.id, pieces=(), tune=next_layers(job, 2 * job.job.num_layers))
