"""Routing between small models at hand and a large one far away: the cheapest that answers."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Id
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState


class IntelligencePerWatt:
    """Sends a request to the smallest local model that answers it correctly, as far as the router can tell.

    The router knows with probability `accuracy_frac` who answers a request, and then does what an oracle would: the
    first local pool whose model does, else the cloud. When it does not know it sends the request to the cloud, so that
    no answer is worse.

    Parameters
    ----------
    local : dict of str to float
        Local pools, cheapest first, with the share of the requests that each one's model answers correctly, in [0, 1],
        never falling. ``{"local-8b": 0.68, "local-14b": 0.807}``.
    cloud : str
        The pool of the model that answers everything; "cloud".
    accuracy_frac : float
        How often the router knows, in [0, 1]; 0.8. 1 is the oracle, 0 sends everything to the cloud.
    answers_seed : int
        Of the draw of who answers what; 0.

    Raises
    ------
    ConfigError
        When a share is out of its range or falls.

    Notes
    -----
    Source: Saad-Falcon et al., "Intelligence per Watt: Measuring Intelligence Efficiency of Local AI", 2025
    (arXiv 2511.07885): the study of routing.

    Faithful to the paper: its three strategies are this one at accuracies of 0, below 1 and 1; a request that the
    router does not know is answered at full quality and full cost.

    Changed: who answers what was measured there, on a million queries; here it is drawn (see `answers`), with the
    published share for all local models together, 80.7%. The share of the smaller model is an ASSUMPTION, and so is
    that a larger model answers all that a smaller one does. That answers are right is nowhere in a world of requests:
    what is simulated is a router that knows so much, not one that learns it. Within a pool the least loaded instance is
    taken; where there is neither pool, the least loaded of all.

    Cost: O(instances) per request.

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> pools = ("local", "cloud")
    >>> view = ServingBoard([InstanceState(pool, BlockPool(8), num_layers=2, pool=pool) for pool in pools])
    >>> route = IntelligencePerWatt(local={"local": 1.0}, accuracy_frac=1.0)
    >>> route.pick(RequestState(Request(id="r", arrival_s=0.0, prompt_tokens=40, max_tokens=8)), view)
    'local'
    """

    def __init__(
        self,
        *,
        local: Mapping[str, float] | None = None,
        cloud: str = "cloud",
        accuracy_frac: float = 0.8,
        answers_seed: int = 0,
    ) -> None:
        shares = list((local or {}).values())
        if any(not 0 <= share <= 1 for share in shares) or any(less > more for less, more in pairwise(shares)):
            raise ConfigError(
                f"serving/intelligence-per-watt: local must be shares in [0, 1] that do not fall, got {shares}. "
                "Try { local = 0.8 }."
            )
        if not 0 <= accuracy_frac <= 1:
            raise ConfigError(
                f"serving/intelligence-per-watt: accuracy_frac must be in [0, 1], got {accuracy_frac}. Try 0.8."
            )
        self.local = local
        self.cloud = cloud
        self.accuracy_frac = accuracy_frac
        self.answers_seed = answers_seed
        self._shares = {"local-8b": 0.68, "local-14b": 0.807} if local is None else dict(local)
        self._rng = np.random.default_rng(0)

    def reset(self, rng: np.random.Generator) -> None:
        """Keep the stream from which it is drawn what the router knows."""
        self._rng = rng

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the least loaded instance of the pool that is chosen."""
        knows = self._rng.random() < self.accuracy_frac
        taking = takers(state, view.instances.values())
        for pool, share in self._shares.items() if knows else ():
            if answers(state.id, share, self.answers_seed) and (found := _least(taking, pool)):
                return found
        return _least(taking, self.cloud) or min(taking, key=_num_requests).id


def answers(request: Id, share: float, seed: int = 0) -> bool:
    """Return whether a model that answers such a share of all requests answers this one.

    Every request has a difficulty, even between 0 and 1, that follows from its id and the seed alone; a model answers
    those that are easier than its share.
    """
    number = int.from_bytes(blake2b(f"{seed}/{request}".encode(), digest_size=8).digest(), "big")
    return number / 2**64 < share


def _least(instances: list[InstanceState], pool: str) -> Id:
    own = [instance for instance in instances if instance.pool == pool]
    return min(own, key=_num_requests).id if own else ""


def _num_requests(instance: InstanceState) -> int:
    return instance.num_requests
