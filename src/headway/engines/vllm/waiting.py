"""Those who wait in vLLM, of whom its scheduler sees whom the plan starts."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from headway.core.nouns import Id


class Named(Protocol):
    """What is asked of a request of vLLM's."""

    request_id: Id


R = TypeVar("R", bound=Named)


class Waiting(Generic[R]):
    """vLLM's queue of those who wait, of which it sees those that the plan starts.

    Attributes
    ----------
    own_order : bool
        Whether vLLM sees all of them, first come, first served.
    """

    def __init__(self) -> None:
        self.own_order = False
        self._all: OrderedDict[Id, R] = OrderedDict()
        self._next: deque[R] = deque()

    def show(self, starts: Iterable[Id]) -> None:
        """Show these, in this order, and nobody else."""
        self._next = deque([self._all[id_] for id_ in starts if id_ in self._all])

    def add_request(self, request: R) -> None:
        """Let a request wait behind the others."""
        self._all[request.request_id] = request

    def peek_request(self) -> R:
        """Return the next one."""
        return next(iter(self._all.values())) if self.own_order else self._next[0]

    def pop_request(self) -> R:
        """Take the next one off."""
        if self.own_order:
            return self._all.popitem(last=False)[1]
        request = self._next.popleft()
        del self._all[request.request_id]
        return request

    def prepend_request(self, request: R) -> None:
        """Let a request wait in front of the others."""
        self._all[request.request_id] = request
        self._all.move_to_end(request.request_id, last=False)

    def prepend_requests(self, requests: Iterable[R]) -> None:
        """Let several wait in front of the others, the last of them first, as vLLM's own queue does."""
        for request in requests:
            self.prepend_request(request)

    def remove_request(self, request: R) -> None:
        """Forget one, if it waits."""
        self._all.pop(request.request_id, None)

    def remove_requests(self, requests: Iterable[R]) -> None:
        """Forget several."""
        for request in requests:
            self.remove_request(request)

    def __bool__(self) -> bool:
        return bool(self._all) if self.own_order else bool(self._next)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._all.values()))
