"""What AIBrix's gateway knows of the instances behind it: whom it sent where, and what came back of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from headway.core.events import Event, Failed
from headway.core.nouns import Id, Seconds
from headway.policies.serving.nouns import Request, RequestFinished
from headway.policies.serving.state import RequestState


class Ended(NamedTuple):
    """A request that an instance has finished."""

    at_s: Seconds
    prompt_tokens: int
    output_tokens: int
    e2e_s: Seconds


class Gateway:
    """Follows requests from where they were sent to their ends.

    Parameters
    ----------
    window_s : float
        For how long an end counts, in seconds, > 0.
    """

    def __init__(self, window_s: Seconds) -> None:
        self._window_s = window_s
        self._sent: dict[Id, tuple[Id, Request]] = {}
        self._ended: dict[Id, deque[Ended]] = {}
        self._used: dict[str, deque[tuple[Seconds, float]]] = {}

    def note(self, state: RequestState, instance: Id) -> None:
        """Note where a request is sent."""
        self._sent[state.id] = instance, state.request

    def hear(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, RequestFinished):
            instance, request = self._sent.pop(event.id, ("", None))
            if request is not None:
                ended = Ended(event.at_s, request.prompt_tokens, event.output_tokens, event.e2e_s)
                self._ended.setdefault(instance, deque()).append(ended)
                tokens = request.prompt_tokens + 2.0 * event.output_tokens
                self._used.setdefault(request.tenant, deque()).append((event.at_s, tokens))
        elif isinstance(event, Failed):
            self._sent.pop(event.id, None)

    def ended(self, instance: Id, now_s: Seconds) -> Iterable[Ended]:
        """Return what an instance has finished of late."""
        found = self._ended.setdefault(instance, deque())
        while found and found[0].at_s < now_s - self._window_s:
            found.popleft()
        return found

    def tokens_of(self, tenant: str, now_s: Seconds) -> float:
        """Return the tokens that a tenant has been served of late; one of an output counts as two of a prompt."""
        found = self._used.setdefault(tenant, deque())
        while found and found[0][0] < now_s - self._window_s:
            found.popleft()
        return sum([tokens for _, tokens in found])

    def most_tokens(self, now_s: Seconds) -> float:
        """Return the most tokens that any tenant has been served of late."""
        return max([self.tokens_of(tenant, now_s) for tenant in list(self._used)], default=0.0)


def mean(values: Iterable[float]) -> float:
    """Return the mean of some numbers, 0 of none."""
    found = list(values)
    return sum(found) / len(found) if found else 0.0
