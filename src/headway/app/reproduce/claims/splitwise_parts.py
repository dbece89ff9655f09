"""What Splitwise was compared with: machines that do both phases, each request on the one with the shortest queue."""

from __future__ import annotations

import numpy as np

from headway.core.nouns import Id
from headway.policies.serving.seats import ServingView
from headway.policies.serving.splitwise_pools import pending_tokens
from headway.policies.serving.state import RequestState


class ShortestQueue:
    """Sends a request to the machine with the fewest tokens to compute."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def pick(self, state: RequestState, view: ServingView) -> Id:  # noqa: ARG002 (all are alike)
        """Return that machine."""
        return min(view.instances.values(), key=pending_tokens).id
