"""The decodes of one instance: requests that get their next token together, whatever their number.

A step that runs all of them advances one clock instead of every request. What a request has come to is its own number
plus the clock, and the few that need another block of memory at the next step are found by the clock's value. So the
books of a step of decodes cost the same for 8 requests as for 800, and a run of equal steps costs little more than one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from headway.core.nouns import Id, Seconds
from headway.policies.serving.nouns import Piece


class Member(Protocol):
    """What a cohort asks of a request; `RequestState` is one."""

    id: Id
    one: Piece
    grows_at: int

    @property
    def kv_tokens(self) -> int:
        """How many tokens its blocks have room for."""

    @property
    def known_tokens(self) -> int:
        """Prompt plus output tokens so far."""

    @property
    def computed_tokens(self) -> int:
        """How many of them are in memory."""

    def enter(self, cohort: Any) -> None:
        """Let the numbers move with the clock of a cohort."""

    def exit(self) -> None:
        """Keep the numbers by itself again."""


S = TypeVar("S", bound=Member)


class Cohort(Generic[S]):
    """The running requests of an instance that are due an output token, in the order in which they came to be.

    Boards write it, policies read it.

    Parameters
    ----------
    block_size : int
        Tokens per block of KV memory, >= 1.

    Attributes
    ----------
    clock : int
        How many steps the cohort has run.
    last_s : float
        When it last ran.
    context_tokens : int
        Tokens in memory that its next step attends to, in total, not counting the new ones.
    """

    __slots__ = ("_due", "_full", "_pieces", "block_size", "clock", "context_tokens", "fresh", "last_s", "members")

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.clock = 0
        self.last_s: Seconds = 0.0
        self.context_tokens = 0
        self.members: dict[Id, S] = {}
        self.fresh: dict[Id, S] = {}  # joined since it last ran
        self._pieces: tuple[Piece, ...] | None = ()
        self._due: dict[int, dict[Id, S]] = {}  # who needs a block before the step at this clock
        self._full: dict[int, dict[Id, S]] = {}  # whose last block is full once the clock says this

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[S]:
        return iter(self.members.values())

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """One token of each: what a step of all decodes begins with. The same object until somebody comes or goes."""
        if self._pieces is None:
            self._pieces = tuple([state.one for state in self.members.values()])
        return self._pieces

    @property
    def short(self) -> dict[Id, S]:
        """Those that need one more block each before the next step; not to be changed."""
        return self._due.get(self.clock, _NOBODY)

    def num_short(self, num_runs: int) -> int:
        """How many blocks the next `num_runs` steps need."""
        clock, size = self.clock, self.block_size
        due = self._due
        return sum(len(due[at]) * ((clock + num_runs - 1 - at) // size + 1) for at in due if at < clock + num_runs)

    # What boards call ----------------------------------------------------------------------------------------------

    def join(self, state: S, hashing: bool) -> None:
        """Take in a request that was given a token; `hashing` says whether its full blocks are to be remembered."""
        computed = state.computed_tokens
        state.enter(self)
        self.members[state.id] = self.fresh[state.id] = state
        self.context_tokens += computed
        self._pieces = None
        self._expect(state)
        if hashing:
            self._full.setdefault(self.clock + self.block_size - computed % self.block_size, {})[state.id] = state

    def drop(self, state: S) -> None:
        """Let a member go on by itself."""
        del self.members[state.id]
        self.context_tokens -= state.computed_tokens
        self._pieces = None
        at = state.grows_at
        if at < self.clock:  # its bucket has moved on with the clock, a block at a time
            at = self.clock + (at - self.clock) % self.block_size
        if not _forget(self._due, at, state.id):
            _forget(self._due, at + self.block_size, state.id)
        if self._full:
            full = self.clock + self.block_size - state.computed_tokens % self.block_size
            _forget(self._full, full, state.id)
        state.exit()
        self.fresh.pop(state.id, None)

    def grown(self) -> None:
        """Note that those who were short have their block."""
        _move_on(self._due, self.clock, self.block_size)

    def run(self, now_s: Seconds) -> dict[Id, S]:
        """Note one step of all members; returns those that have filled a block and want it remembered."""
        self.clock += 1
        self.last_s = now_s
        self.context_tokens += len(self.members)
        if self.fresh:
            self.fresh.clear()
        return _move_on(self._full, self.clock, self.block_size) if self._full else _NOBODY

    def _expect(self, state: S) -> None:
        """Work out before which step it needs a block."""
        state.grows_at = self.clock + max(0, state.kv_tokens - state.known_tokens + 1)
        self._due.setdefault(state.grows_at, {})[state.id] = state


_NOBODY: dict[Id, Any] = {}


def _forget(buckets: dict[int, dict[Id, S]], at: int, id: Id) -> bool:
    bucket = buckets.get(at)
    if bucket is None or bucket.pop(id, None) is None:
        return False
    if not bucket:
        del buckets[at]
    return True


def _move_on(buckets: dict[int, dict[Id, S]], at: int, by: int) -> dict[Id, S]:
    """Let those of a bucket wait for the clock to have moved on; returns them."""
    bucket = buckets.pop(at, None)
    if bucket is None:
        return _NOBODY
    later = buckets.setdefault(at + by, bucket)
    if later is not bucket:
        later.update(bucket)
    return bucket
