"""Keeping the memory of requests that have just finished."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from headway.core.nouns import Id
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import RequestState

NUM_ENDED = 256
"""How many finished requests are remembered, so that what they leave in the cache can be pinned."""


class Ended:
    """Where the latest requests to finish were, and what their blocks are found by."""

    def __init__(self) -> None:
        self._known: OrderedDict[Id, tuple[Id, Sequence[int]]] = OrderedDict()

    def note(self, state: RequestState) -> None:
        """Remember a request that is about to leave, some blocks of which can be found."""
        self._known[state.id] = state.instance, state.hashes[: state.remembered]
        if len(self._known) > NUM_ENDED:
            self._known.popitem(last=False)

    def of(self, request: Id) -> tuple[Id, Sequence[int]]:
        """Return the instance of a request and its hashes; nowhere when it is not remembered."""
        return self._known.get(request, ("", ()))


def pin(kv: BlockPool, owner: Id, hashes: Sequence[int]) -> str | None:
    """Hold the blocks that a chain of hashes finds; returns why not when it finds none."""
    blocks = kv.match(hashes)
    if not blocks:
        return "none of its memory can be found again"
    kv.pin(owner, blocks)
    return None
