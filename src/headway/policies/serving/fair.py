"""Fair: whoever has been served least is served next, so that no tenant crowds out the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from math import inf

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed
from headway.core.nouns import Seconds
from headway.policies.serving.fair_counters import Counters
from headway.policies.serving.nouns import RequestArrived, RequestFinished
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState


class Fair:
    """Starts requests of the tenant that has been served least, in tokens of prompts and outputs.

    Nobody is held back: while one tenant alone asks for service, it is given all there is. Who was idle has no credit:
    it begins where the least served of those who wait is. Requests of one tenant start by priority, and first come,
    first served within one. Those who were preempted stay in front, as everywhere: they have been charged.

    Parameters
    ----------
    prompt_weight : float
        What a token of a prompt counts, >= 0; 1, the paper's. Those found in the prefix cache do not count.
    output_weight : float
        What a token of an output counts, >= 0; 2, the paper's, of the order of their prices.
    weights : table of str to float, or None
        How much each tenant may have where others have 1, > 0; 1 for those who are not named, and None for all.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Attributes
    ----------
    counters : Counters
        What each tenant has been given.

    Notes
    -----
    Source: the virtual token counter of Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024, arXiv
    2401.00588, algorithm 2. Written from memory of the paper, and not checked line by line.

    As there: a prompt is charged when its request starts, every token of its output as it comes, and the counter of a
    tenant that begins to wait is lifted to the smallest of those who wait, or to that of whoever was the last to start
    when nobody does. Changed: all of this is worked out when somebody is to be chosen; tokens from the prefix cache
    are free; recomputing after a preemption is, too; tenants without work who would be lifted are forgotten. Running
    requests go on: nobody is preempted for fairness.

    Of two tenants who both have requests waiting at an instance all the time, neither is ahead of the other by more
    than ``prompt_weight`` x the longest prompt + ``output_weight`` x the requests that run at once x the longest
    output, divided by its weight: it was not ahead when its latest request was started, and since then it has been
    given that prompt, and what its running requests were to come to.

    Cost: O(running + waiting) per step while somebody waits, and nothing while nobody does.

    Examples
    --------
    >>> from headway.core.actions import Move
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> seat, board = Fair(), ServingBoard([InstanceState("gpu", BlockPool(64), num_layers=2)])
    >>> seat.reset(np.random.default_rng(0))
    >>> for name, tenant in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")):
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=10, max_tokens=8, tenant=tenant)
    ...     _ = board.add(request)
    ...     _ = seat.steer(RequestArrived(at_s=0.0, work=request), board)
    ...     _ = board.apply(Move(name, "gpu"))
    >>> [state.id for state in seat.queue(board.instances["gpu"], 0.0)]
    ['a1', 'b1', 'a2', 'a3']
    """

    def __init__(
        self, *, prompt_weight: float = 1.0, output_weight: float = 2.0, weights: dict[str, float] | None = None
    ) -> None:
        for name, value in (("prompt_weight", prompt_weight), ("output_weight", output_weight)):
            if not 0 <= value < inf:
                raise ConfigError(f"serving/fair: {name} must be >= 0, got {value}. Try the default.")
        if not prompt_weight + output_weight:
            raise ConfigError("serving/fair: prompt_weight or output_weight must be > 0, got 0 for both. Try 1 and 2.")
        for tenant, weight in (weights or {}).items():
            if not 0 < weight < inf:
                raise ConfigError(f"serving/fair: weights.{tenant} must be > 0, got {weight}. Try 1, the default.")
        self.prompt_weight = prompt_weight
        self.output_weight = output_weight
        self.weights = weights
        self.counters = self._fresh()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what everybody has been given."""
        self.counters = self._fresh()

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Note who comes and who goes; do nothing about it."""
        if isinstance(event, RequestArrived):
            state = view.requests.get(event.work.id)
            if state is not None:
                self.counters.arrive(state)
        elif isinstance(event, RequestFinished | Failed):
            self.counters.end(event.id)
        return ()

    def queue(self, instance: InstanceState, now_s: Seconds) -> Iterable[RequestState]:
        """Return those who wait, of the tenant that has been given least first."""
        if not instance.waiting:
            return ()
        self.counters.settle()
        return InTurn(self.counters, instance)

    def _fresh(self) -> Counters:
        return Counters(self.prompt_weight, self.output_weight, self.weights or {})


class InTurn:
    """Those who wait at an instance, as they are to be started; gone through only as far as somebody can be."""

    def __init__(self, counters: Counters, instance: InstanceState) -> None:
        self._counters = counters
        self._instance = instance

    def __iter__(self) -> Iterator[RequestState]:
        fresh: dict[str, list[RequestState]] = {}
        for state in self._instance.waiting.values():
            if state.num_preempted:
                yield state
            else:
                fresh.setdefault(state.request.tenant, []).append(state)
        yield from self._by_tenant(fresh)

    def _by_tenant(self, fresh: dict[str, list[RequestState]]) -> Iterator[RequestState]:
        """Go on with whoever is behind, each start counted as if it had been made."""
        for states in fresh.values():
            states.sort(key=_priority)
            states.reverse()  # to be taken from the end
        heap = [(self._counters.of(tenant), place, tenant) for place, tenant in enumerate(fresh)]
        heapify(heap)
        while heap:
            given, place, tenant = heappop(heap)
            state = fresh[tenant].pop()
            yield state
            if fresh[tenant]:
                heappush(heap, (given + self._counters.price(state, self._cached_tokens(state)), place, tenant))

    def _cached_tokens(self, state: RequestState) -> int:
        kv = self._instance.kv
        hashes = state.hashes[: (state.known_tokens - 1) // kv.block_size]
        return len(kv.match(hashes)) * kv.block_size if hashes else 0


def _priority(state: RequestState) -> int:
    return -state.request.priority
