"""Routing to where the beginning of a prompt is cached, unless too many requests are there already."""

from __future__ import annotations

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Id
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState


class PrefixRoute:
    """Sends a request to the instance that has the longest prefix of its prompt in its cache.

    Instances that are too far ahead of the least loaded do not count. Where too little of the prompt is cached to be
    worth it, the least loaded instance gets it.

    Parameters
    ----------
    min_match_frac : float
        The share of the prompt that must be cached, in [0, 1]; 0.3, the router's default.
    max_more : int
        An instance is not too far ahead while it has at most so many more requests than the least loaded, >= 0; 64,
        the router's default.
    max_times : float
        Nor while it has at most so many times as many, >= 1; 1.5, the router's default.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: the cache-aware load balancer of SGLang 0.4 (December 2024), as its documentation describes it: a threshold
    on the matched share, and a switch to the shortest queue at an absolute and a relative imbalance.

    Changed: what is cached is read from the books of each instance, where the router keeps a tree of what it has sent
    and guesses from that; so requests that arrive while their common prefix is being computed for the first time do not
    attract each other. The imbalance is judged instance by instance, not once for all, so that one that is overrun does
    not keep the others from being matched. Without a match the least loaded instance is taken, not the one with the
    smallest tree.

    Cost: O(instances + blocks matched) per request, plus sorting the instances by load.

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> view = ServingBoard([InstanceState(name, BlockPool(8, block_size=16), num_layers=2) for name in "ab"])
    >>> view.instances["b"].kv.remember(view.instances["b"].kv.allocate(1)[0], 7)
    >>> request = Request(id="r", arrival_s=0.0, prompt_tokens=40, max_tokens=8, hashes=(7, 8))
    >>> PrefixRoute().pick(RequestState(request), view)
    'b'
    """

    def __init__(self, *, min_match_frac: float = 0.3, max_more: int = 64, max_times: float = 1.5) -> None:
        if not 0 <= min_match_frac <= 1:
            raise ConfigError(
                f"serving/prefix-route: min_match_frac must be in [0, 1], got {min_match_frac}. Try 0.3, the default."
            )
        if max_more < 0:
            raise ConfigError(f"serving/prefix-route: max_more must be >= 0, got {max_more}. Try 64, the default.")
        if not max_times >= 1:
            raise ConfigError(f"serving/prefix-route: max_times must be >= 1, got {max_times}. Try 1.5, the default.")
        self.min_match_frac = min_match_frac
        self.max_more = max_more
        self.max_times = max_times

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the instance with the longest match of those within bounds, or else the least loaded one."""
        ranked = sorted(takers(state, view.instances.values()), key=_num_requests)
        least, fewest = ranked[0], ranked[0].num_requests
        most = max(fewest + self.max_more, self.max_times * fewest)
        # The last token must always be computed, so its block need not be found.
        hashes = state.hashes[: (state.known_tokens - 1) // least.kv.block_size]
        best, longest = least, 0
        for instance in ranked:
            if longest == len(hashes) or instance.num_requests > most:
                break
            if instance.kv.match(hashes[longest : longest + 1]):  # without this block it cannot have more of them
                num = len(instance.kv.match(hashes))
                if num > longest:
                    best, longest = instance, num
        enough = longest * least.kv.block_size >= self.min_match_frac * state.request.prompt_tokens
        return best.id if enough else least.id


def _num_requests(instance: InstanceState) -> int:
    return instance.num_requests
