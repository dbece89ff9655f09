"""The books of copies: which running requests have some of their keys and values on another instance already."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from headway.core.nouns import Id
from headway.policies.serving.nouns import Copy, Uncopy
from headway.policies.serving.state import InstanceState, RequestState


class KvCopy:
    """The copy of one running request on another instance.

    Attributes
    ----------
    id : str
        The request.
    source, to : str
        Where it runs, and where the copy is.
    blocks : list of int
        The blocks reserved at `to`, in order.
    tokens : int
        Of how many of its tokens the keys and values are there.
    until : int
        Of how many they will be, when what is under way is over; equal to `tokens` when nothing is.
    """

    __slots__ = ("blocks", "id", "source", "to", "tokens", "until")

    def __init__(self, id: Id, source: Id, to: Id) -> None:
        self.id = id
        self.source = source
        self.to = to
        self.blocks: list[int] = []
        self.tokens = 0
        self.until = 0

    @property
    def under_way(self) -> bool:
        """Whether some of it is still to come."""
        return self.until > self.tokens


class Copies:
    """The copies of one board.

    Parameters
    ----------
    instances : mapping of str to InstanceState
        The board's instances.
    requests : mapping of str to RequestState
        The board's requests.
    """

    def __init__(self, instances: Mapping[Id, InstanceState], requests: Mapping[Id, RequestState]) -> None:
        self._instances = instances
        self._requests = requests
        self._copies: dict[Id, KvCopy] = {}
        self.all: Mapping[Id, KvCopy] = MappingProxyType(self._copies)

    def begin(self, action: Copy) -> str | None:
        """Reserve memory for a copy, or for the rest of one; returns why not when it cannot be."""
        state = self._requests.get(action.what)
        source = self._instances.get(state.instance) if state is not None else None
        to = self._instances.get(action.to)
        if state is None or source is None or state.id not in source.running:
            return "it is not running"
        if to is None or to is source:
            return f"there is no instance {action.to!r}" if to is None else "it is there already"
        copy = self._copies.get(state.id) or KvCopy(state.id, source.id, to.id)
        if copy.under_way or copy.to != to.id:
            return "a copy of it is under way" if copy.under_way else f"there is a copy of it at {copy.to}"
        # Until its prompt is computed, what is to be copied is all that will have been computed by its next token.
        until = state.computed_tokens if state.decoding else state.known_tokens
        if until <= copy.tokens:
            return "all of it is there already"
        if not self._reserve(copy, to, until):
            return f"{to.id} has no room for it"
        copy.until = until
        self._copies[state.id] = copy
        return None

    def give_up(self, action: Uncopy) -> str | None:
        """Forget a copy; returns why not when there is none."""
        if action.what not in self._copies:
            return "there is no copy of it"
        self.drop(action.what)
        return None

    def over(self, request: Id) -> KvCopy:
        """Note that what was under way has come."""
        copy = self._copies[request]
        copy.tokens = copy.until
        return copy

    def num_missing(self, state: RequestState, to: Id) -> int:
        """How many of the computed tokens of a request are not at another instance."""
        copy = self._copies.get(state.id)
        return state.computed_tokens - (copy.tokens if copy is not None and copy.to == to else 0)

    def why_not_move(self, state: RequestState, to: InstanceState) -> str | None:
        """Return why a request cannot go to another instance now."""
        copy = self._copies.get(state.id)
        reserved = 0
        if copy is not None and copy.to == to.id:
            if copy.under_way:
                return "a copy of it is under way"
            reserved = len(copy.blocks)
        if to.num_running >= to.max_running or to.kv.blocks_for(state.known_tokens) - reserved > to.kv.num_free:
            return f"{to.id} has no room for it"
        return None

    def take(self, state: RequestState, to: InstanceState) -> list[int]:
        """Return memory of an instance for a request that goes there: what is reserved, and what it needs beside."""
        copy = self._copies.get(state.id)
        if copy is None or copy.to != to.id:
            self.drop(state.id)
            return to.kv.allocate(to.kv.blocks_for(state.known_tokens))
        del self._copies[state.id]
        self._reserve(copy, to, state.known_tokens)
        return copy.blocks

    def drop(self, request: Id) -> None:
        """Forget the copy of a request, if there is one, and let go of its memory."""
        copy = self._copies.pop(request, None)
        to = self._instances.get(copy.to) if copy is not None else None
        if copy is not None and to is not None:
            to.kv.release(copy.blocks)

    def drop_all(self, instance: Id) -> None:
        """Forget the copies from and on an instance, whose memory is lost."""
        for copy in list(self._copies.values()):
            if instance in (copy.source, copy.to):
                self.drop(copy.id)

    def _reserve(self, copy: KvCopy, to: InstanceState, tokens: int) -> bool:
        """Hold memory for so many tokens in all; says whether there is enough."""
        count = max(0, to.kv.blocks_for(tokens) - len(copy.blocks))
        if count > to.kv.num_free:
            return False
        copy.blocks += to.kv.allocate(count)
        return True
