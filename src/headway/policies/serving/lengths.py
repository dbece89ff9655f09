"""How long outputs will be, for whoever has no better guess."""

from __future__ import annotations

import numpy as np

from headway.policies.serving.state import RequestState


class MostTokens:
    """Takes it that every request will use all the output tokens that it asked for."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def output_tokens(self, state: RequestState, quantile: float | None = None) -> float:
        """Return the most output tokens that a request can come to."""
        return max(state.request.max_tokens, state.output_tokens + 1)
