"""Tentative overlays on a serving board, so that several actions of one decision account for each other's memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

from headway.core.actions import Action, Preempt, Start
from headway.core.nouns import Id, Seconds
from headway.policies.serving.nouns import Unpin
from headway.policies.serving.state import InstanceState, RequestState


class ChoosesVictims(Protocol):
    """Who says which request gives way; see the evict seat."""

    def victim(self, instance: InstanceState, running: Sequence[RequestState], now_s: Seconds) -> RequestState:
        """Return one of `running`."""


class InstanceDraft:
    """What one decision does to one instance.

    Attributes
    ----------
    free_blocks : int
        Blocks still free after what was drafted so far. It never promises too much: a cached prefix that two drafted
        requests share is counted for both, because it may be gone by the time the second one starts.
    actions : list of Action
        The starts, preemptions and ended pins drafted so far, in order.
    queue : iterable of RequestState or None
        Those who wait, in the order of an order seat; None for first come, first served.
    evict : ChoosesVictims or None
        Who says which request gives way; the latest started without one.
    now_s : float
        The present, in seconds since the start of the run.
    """

    __slots__ = (
        "_adapters", "_kept", "_released", "actions", "evict", "free_blocks", "instance", "now_s", "num_running",
        "preempted", "queue", "started", "unpinned",
    )  # fmt: skip

    def __init__(self, instance: InstanceState) -> None:
        self.instance = instance
        self.free_blocks = instance.kv.num_free
        self.num_running = instance.num_running
        self.actions: list[Action] = []
        self.preempted: set[Id] = set()
        self.started: dict[Id, int] = {}
        self._released: dict[int, int] = {}  # holders that drafted preemptions take from each block
        self._adapters: set[Id] = set()  # of drafted starts
        self._kept: set[int] = set()  # held blocks that drafted starts share
        self.unpinned: set[Id] = set()
        self.queue: Iterable[RequestState] | None = None
        self.evict: ChoosesVictims | None = None
        self.now_s: Seconds = 0.0

    @property
    def waiting(self) -> Iterable[RequestState]:
        """Those who wait to be started here, who is first in turn first."""
        waiting, adapters = self.queue, self.instance.adapters
        if waiting is None:
            waiting = self.instance.waiting.values()
        elif isinstance(waiting, Iterator):
            waiting = self.queue = list(waiting)  # a batch seat may go through it more than once
        if adapters is None or not adapters.loading:
            return waiting
        return [state for state in waiting if state.request.adapter not in adapters.loading]

    def victim(self, running: Sequence[RequestState]) -> RequestState:
        """Return which of these running requests gives way when memory is short."""
        return running[-1] if self.evict is None else self.evict.victim(self.instance, running, self.now_s)

    def extend(self, state: RequestState, tokens: int) -> bool:
        """Draft room for the next `tokens` tokens of a running request; says whether there is any."""
        count = -(-(state.computed_tokens + tokens - state.kv_tokens) // self.instance.kv.block_size)
        if count > self.free_blocks:
            return False
        self.free_blocks -= max(0, count)
        return True

    def extend_decodes(self, num_short: int) -> bool:
        """Draft room for the next token of decodes of which `num_short` need a block; says whether there is any."""
        if num_short > self.free_blocks:
            return False
        self.free_blocks -= num_short
        return True

    def preempt(self, state: RequestState, how: Literal["requeue", "swap"] = "requeue") -> None:
        """Draft that a running request gives back its memory and waits again, in front; `how` as of `Preempt`."""
        self._let_go(state.blocks)
        self.num_running -= 1
        self.preempted.add(state.id)
        self.actions.append(Preempt(state.id, how))

    def unpin(self, owner: Id) -> None:
        """Draft the end of a pin."""
        self._let_go(self.instance.kv.pins[owner])
        self.unpinned.add(owner)
        self.actions.append(Unpin(owner=owner, instance=self.instance.id))

    def cost(self, state: RequestState, kv_tokens: int) -> tuple[int, int]:
        """Return the most free blocks that starting a waiting request can use, and how many of its tokens are there.

        These are in the cache or can be fetched from a pool, or come back from the host's memory.
        """
        kv, swapped = self.instance.kv, state.swapped_tokens
        found = self._find(state)
        num = len(found) + self._num_beyond(state, len(found))
        blocks = max(kv.blocks_for(max(kv_tokens, swapped)), num) - self._num_held(found)
        return blocks, max(num * kv.block_size, swapped)

    def start(self, state: RequestState, kv_tokens: int, spare_blocks: int = 0) -> int | None:
        """Draft that a waiting request starts with memory for `kv_tokens` tokens, leaving `spare_blocks` free.

        Returns
        -------
        int or None
            How many of its tokens are then still to compute, or None (and nothing drafted) when memory is short or as
            many requests run as can. It may turn out to be more, when starts drafted before this one take the memory of
            a cached prefix.
        """
        if self.num_running >= self.instance.max_running or not self._has_adapter(state):
            return None
        kv_tokens = max(kv_tokens, state.swapped_tokens)
        blocks, cached = self.cost(state, kv_tokens)
        if self.free_blocks - blocks < spare_blocks:
            return None
        self.free_blocks -= blocks
        if cached:
            found = self._find(state)
            self._kept.update(found[: self._num_held(found)])
        self.num_running += 1
        if self.instance.adapters is not None:
            self._adapters.add(state.request.adapter)
        self.started[state.id] = state.known_tokens - cached
        self.actions.append(Start(state.id, {self.instance.id: {"kv_tokens": kv_tokens}}))
        return state.known_tokens - cached

    def _has_adapter(self, state: RequestState) -> bool:
        """Whether the adapter of a request is at hand or could be loaded at once, whatever else was drafted."""
        adapters, adapter = self.instance.adapters, state.request.adapter
        if adapters is None or not adapter:
            return True
        used = {*self.instance.adapters_in_use, *self._adapters, adapter} - {""}
        return adapter not in adapters.loading and len(used) + len(adapters.loading) <= adapters.room

    def _let_go(self, blocks: Sequence[int]) -> None:
        num_holders = self.instance.kv.num_holders
        for block in blocks:
            released = self._released[block] = self._released.get(block, 0) + 1
            if released == num_holders(block) and block not in self._kept:
                self.free_blocks += 1

    def _find(self, state: RequestState) -> list[int]:
        if not state.hashes:
            return []
        kv = self.instance.kv
        return kv.match(state.hashes[: (state.known_tokens - 1) // kv.block_size])

    def _num_beyond(self, state: RequestState, num_found: int) -> int:
        kv = self.instance.kv
        if kv.beyond is None or not state.hashes:
            return 0
        return kv.num_beyond(state.hashes[: (state.known_tokens - 1) // kv.block_size], num_found)

    def _num_held(self, found: list[int]) -> int:
        """Count the leading blocks of a prefix that somebody holds; what follows one that may vanish may vanish too."""
        num_holders, released = self.instance.kv.num_holders, self._released
        for index, block in enumerate(found):
            if num_holders(block) <= released.get(block, 0):
                return index
        return len(found)


class _HasInstances(Protocol):
    @property
    def instances(self) -> Mapping[Id, InstanceState]: ...


class ServingDraft:
    """One decision over all instances of a board."""

    def __init__(self, board: _HasInstances) -> None:
        self._board = board
        self._parts: dict[Id, InstanceDraft] = {}

    def on(self, instance: Id) -> InstanceDraft:
        """Return the part of the decision that is about one instance."""
        part = self._parts.get(instance)
        if part is None:
            part = self._parts[instance] = InstanceDraft(self._board.instances[instance])
        return part
