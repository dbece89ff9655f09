"""What only a world knows: which requests come, when they stop, and who is sent after whom."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.policies.serving.nouns import Request
from headway.policies.serving.state import InstanceState, RequestState


class TrueRequest(Struct, frozen=True, kw_only=True):
    """A request and what only the world knows of it.

    Parameters
    ----------
    request : Request
        What policies see; it arrives at its `arrival_s`.
    output_tokens : int
        After how many output tokens it stops by itself, >= 1; never more than its `max_tokens` are given.
    output_hashes : tuple of int
        Chained hashes of the full blocks that its output completes, following those of the prompt.
    tool : str
        The tool that its output calls; empty when its session ends with it.
    """

    request: Request
    output_tokens: int
    output_hashes: tuple[int, ...] = ()
    tool: str = ""

    def __post_init__(self) -> None:
        if self.output_tokens < 1:
            raise ConfigError(f"request {self.request.id}: output_tokens must be >= 1, got {self.output_tokens}.")

    @property
    def given_tokens(self) -> int:
        """How many tokens it is given in the end."""
        return min(self.output_tokens, self.request.max_tokens)

    @property
    def reason(self) -> str:
        """Why it ends: ``"stop"`` by itself, or ``"length"`` because it was given all it asked for."""
        return "stop" if self.output_tokens <= self.request.max_tokens else "length"


class Source(Protocol):
    """Where requests come from."""

    def __len__(self) -> int:
        """How many there are in all."""

    def __iter__(self) -> Iterator[TrueRequest]:
        """Those that wait for nobody, by arrival."""

    def after(self, request: Id, now_s: Seconds) -> Sequence[TrueRequest]:
        """Those that are sent because a request has ended now, with their times of arrival."""

    def lost(self, request: Id) -> Sequence[Id]:
        """Those that are never sent because a request was turned away, or will not be sent itself; each once."""


class Given:
    """A source of requests that are all there from the start.

    Parameters
    ----------
    requests : sequence of TrueRequest
        In any order.
    """

    def __init__(self, requests: Sequence[TrueRequest]) -> None:
        self._requests = sorted(requests, key=lambda true: true.request.arrival_s)

    def __len__(self) -> int:
        return len(self._requests)

    def __iter__(self) -> Iterator[TrueRequest]:
        return iter(self._requests)

    def after(self, request: Id, now_s: Seconds) -> Sequence[TrueRequest]:  # noqa: ARG002
        """Nobody."""
        return ()

    def lost(self, request: Id) -> Sequence[Id]:  # noqa: ARG002
        """Nobody."""
        return ()


class Ends:
    """When the decodes of one instance stop, by the clock of its cohort."""

    def __init__(self, instance: InstanceState) -> None:
        self._decodes = instance.decodes
        self._heap: list[tuple[int, int, RequestState]] = []
        self._order = 0
        self._latest: dict[Id, int] = {}  # which entry of a request is the true one

    def __len__(self) -> int:
        """How many ends are noted, those included that are no longer true."""
        return len(self._heap)

    def expect(self, state: RequestState, left_tokens: int) -> None:
        """Note that a decode stops with the `left_tokens`-th token from now."""
        self._order += 1
        self._latest[state.id] = self._order
        if len(self._heap) > 64 + 2 * len(self._decodes):  # many have left and come back
            self._tidy_up()
        heapq.heappush(self._heap, (self._decodes.clock + left_tokens, self._order, state))

    def num_runs(self) -> int:
        """In how many runs of all decodes the next of them stops; many when there is none."""
        heap = self._heap
        while heap and not self._holds(heap[0]):
            heapq.heappop(heap)
        return heap[0][0] - self._decodes.clock if heap else 1 << 30

    def over(self) -> list[RequestState]:
        """Take out those that stop now, in the order in which they became decodes."""
        found: list[RequestState] = []
        heap, clock = self._heap, self._decodes.clock
        while heap and heap[0][0] <= clock:
            entry = heapq.heappop(heap)
            if entry[0] == clock and self._holds(entry):
                found.append(entry[2])
                del self._latest[entry[2].id]
        return found

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()
        self._latest.clear()

    def _tidy_up(self) -> None:
        members = self._decodes.members
        self._heap = [entry for entry in self._heap if self._holds(entry)]
        self._latest = {id_: order for id_, order in self._latest.items() if id_ in members}
        heapq.heapify(self._heap)

    def _holds(self, entry: tuple[int, int, RequestState]) -> bool:
        """Whether an entry is still true: its request may have left, and come back to be expected anew."""
        state = entry[2]
        return state.id in self._decodes.members and self._latest.get(state.id) == entry[1]
