"""mLoRA's pipeline: adapters take turns, each with a microbatch of its own, so that one fills the gaps of another."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id
from headway.policies.tuning.lorafusion_board import PipelineView
from headway.policies.tuning.lorafusion_nouns import Enter
from headway.policies.tuning.lorafusion_slices import next_slice


class Mlora:
    """Lets the adapters take turns in the pipeline; whose optimizer step is awaited is passed over.

    Microbatches are those of the data's order, as long or short as the examples are.

    Parameters
    ----------
    samples : int
        Examples of a microbatch, >= 0 (fewer where they do not fit); 1. With 0, as many as fit.

    Raises
    ------
    ConfigError
        When `samples` is negative.

    Notes
    -----
    Source: Ye et al., "mLoRA: Fine-Tuning LoRA Adapters via Highly-Efficient Pipeline Parallelism in Multiple GPUs",
    2023, arXiv 2312.02515, as LoRAFusion (2025, arXiv 2510.00206) describes it where it compares itself with it.

    Faithful to the paper: independent adapters fill the pipeline in turns. From memory: the order of the turns. Left
    out: its operator for several adapters, its memory estimate and its priorities.

    Cost: O(jobs + examples of a global batch) per microbatch.

    Examples
    --------
    >>> Mlora(samples=2).samples
    2
    """

    def __init__(self, *, samples: int = 1) -> None:
        self.samples = samples
        if samples < 0:
            raise ConfigError(f"tuning/mlora: samples must be >= 0, got {samples}. Try 1.")
        self._last: Id = ""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin with the first again."""
        self._last = ""

    def decide(self, event: Event, view: PipelineView) -> Iterable[Action]:
        """Let the next adapter that has something to do enter."""
        if not view.is_open:
            return ()
        for job in self._turns(list(view.jobs)):
            mix = next_slice(view.jobs[job], self.samples, view)
            if mix is not None:
                self._last = job
                return [Enter(mix)]
        return ()

    def _turns(self, jobs: list[Id]) -> list[Id]:
        """Return the jobs, beginning behind the one that was last."""
        first = jobs.index(self._last) + 1 if self._last in jobs else 0
        return jobs[first:] + jobs[:first]
