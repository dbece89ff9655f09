"""A step as it was measured: what it computed, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Floats = npt.NDArray[np.float64]


class MeasuredStep(Struct, frozen=True, gc=False):
    """One step of a live engine, or the mean of those that it ran one after the other without a look at its queue.

    Parameters
    ----------
    tokens : int
        Tokens computed, >= 1.
    decodes : int
        How many of them follow an output token.
    context_tokens : float
        Tokens in memory that the decodes attend to, in total and not counting the new ones.
    chunks : int
        Pieces of prompts.
    pairs : float
        Pairs of a prompt's token and a token that it attends to; each attends to half of its own chunk.
    took_s : float
        From when the engine could decide on it to when it could decide on the next, in seconds, > 0.
    num_runs : int
        Of how many runs the others are the mean.
    at_s : float
        When it ended, in seconds of the engine's clock.
    """

    tokens: int
    decodes: int
    context_tokens: float
    chunks: int
    pairs: float
    took_s: float
    num_runs: int = 1
    at_s: float = 0.0


class StepColumns:
    """Measured steps in columns.

    Parameters
    ----------
    steps : sequence of MeasuredStep
        At least one.
    """

    def __init__(self, steps: Sequence[MeasuredStep]) -> None:
        self.tokens = np.array([step.tokens for step in steps], float)
        self.decodes = np.array([step.decodes for step in steps], float)
        self.context_tokens = np.array([step.context_tokens for step in steps], float)
        self.chunks = np.array([step.chunks for step in steps], float)
        self.pairs = np.array([step.pairs for step in steps], float)
        self.took_s = np.array([step.took_s for step in steps], float)
        self.num_runs = np.array([step.num_runs for step in steps], float)

    def __len__(self) -> int:
        return len(self.took_s)
