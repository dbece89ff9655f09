"""Adapters are trained one after the other, each in microbatches of its own: LoRA in Megatron-LM's pipeline."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.policies.tuning.lorafusion_board import PipelineView
from headway.policies.tuning.lorafusion_nouns import Enter
from headway.policies.tuning.lorafusion_slices import next_slice


class OneByOne:
    """Trains the job that came first to its end, then the next; the pipeline runs empty at every optimizer step.

    Parameters
    ----------
    samples : int
        Examples of a microbatch, in the order of the data, >= 0 (fewer where they do not fit); 1. With 0, as many as
        fit.

    Raises
    ------
    ConfigError
        When `samples` is negative.

    Notes
    -----
    Source: what LoRAFusion (2025, arXiv 2510.00206) compares itself with as Megatron-LM with pipeline parallelism,
    as this project reads it.

    Faithful to the paper: there is none for this; how many examples its baseline puts into a microbatch is unconfirmed.

    Cost: O(examples of a global batch) per microbatch.

    Examples
    --------
    >>> OneByOne(samples=2).samples
    2
    """

    def __init__(self, *, samples: int = 1) -> None:
        self.samples = samples
        if samples < 0:
            raise ConfigError(f"tuning/one-by-one: samples must be >= 0, got {samples}. Try 1.")

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget."""

    def decide(self, event: Event, view: PipelineView) -> Iterable[Action]:
        """Let the next examples of the first job enter, once its last optimizer step is done."""
        state = next(iter(view.jobs.values()), None)
        mix = next_slice(state, self.samples, view) if state is not None and view.is_open else None
        return [Enter(mix)] if mix is not None else ()
