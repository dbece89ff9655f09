"""What lending is worth: tokens per second of who lends out blocks and of who holds them, before and after."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

from headway.core.nouns import Id
from headway.policies.serving.lending import Lending
from headway.policies.serving.pace import Pace, Shape
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState

PORTIONS = 32
"""A new request is divided in so many steps, no finer."""
SLOPE_TOKENS = 100_000
"""The slope of a step's time by its context is taken over so many tokens."""


class Ledger:
    """How one instance stands, and how it would stand after what has been planned.

    Attributes
    ----------
    batch : float
        Requests that run, or would.
    here_tokens : float
        Tokens of their context that are read here.
    away_tokens : dict of str to float
        Those that each holder reads.
    guest_tokens : float
        Tokens read here for requests of others.
    free_blocks : int
        What is free now, less what is planned to be held here for others.
    coming_blocks : float
        What will be free when all that is on its way has left.
    moving : set of str
        Requests of this instance that have blocks on their way.
    """

    def __init__(self, instance: InstanceState, lending: Lending) -> None:
        size = instance.kv.block_size
        running = [*instance.running.values(), *instance.flying.values()]
        self.instance = instance
        self.batch = float(len(running))
        self.here_tokens = float(sum(state.computed_tokens - state.away_tokens for state in running))
        self.away_tokens: dict[Id, float] = {}
        for request in instance.lent:
            for holder, blocks in lending.at(request).items():
                self.away_tokens[holder] = self.away_tokens.get(holder, 0.0) + blocks * size
        self.guest_tokens = float(sum(instance.guests.values()) * size)
        self.free_blocks = instance.kv.num_free
        leaving = [len(loan.blocks) for loan in lending.loans.values() if loan.source == instance.id]
        self.coming_blocks = float(self.free_blocks + sum(leaving))
        self.moving = {request for request in lending.loans if request in instance.running}

    def twin(self) -> Ledger:
        """Return a copy that can be changed by itself."""
        other = copy.copy(self)
        other.away_tokens = dict(self.away_tokens)
        return other

    def room_blocks(self, use_frac: float) -> int:
        """How many blocks it can hold for others before more than a share of its memory is in use."""
        return self.free_blocks - int((1 - use_frac) * self.instance.kv.num_blocks)

    def tokens_per_s(self, pace: Pace) -> float:
        """Return how many tokens it gives per second."""
        if not self.batch:
            return 0.0
        bare_s = pace.step_s(self.instance, Shape(max(1, round(self.batch)), 0))
        read_s = context_slope_s(pace, self.instance)
        waits_tokens = max([self.here_tokens, *self.away_tokens.values()])
        return self.batch / (bare_s + read_s * (waits_tokens + self.guest_tokens))


def context_slope_s(pace: Pace, instance: InstanceState) -> float:
    """Return how long a step takes per token of context, in seconds."""
    with_it, without = (pace.step_s(instance, Shape(1, tokens)) for tokens in (SLOPE_TOKENS, 0))
    return max(0.0, with_it - without) / SLOPE_TOKENS


def ledgers(view: ServingView) -> dict[Id, Ledger]:
    """Return how all instances stand."""
    return {name: Ledger(instance, view.lending) for name, instance in view.instances.items()}


def joint_tokens_per_s(pace: Pace, both: Iterable[Ledger]) -> float:
    """Return how many tokens some instances give per second together."""
    return sum(ledger.tokens_per_s(pace) for ledger in both)


def lend(owner: Ledger, holder: Ledger, blocks: int, waiting_blocks: float, num_waiting: int) -> None:
    """Let ledgers show that `blocks` of the owner's lie with the holder, and that who waits has taken their place.

    Parameters
    ----------
    owner, holder : Ledger
        Of the two instances.
    blocks : int
        How many.
    waiting_blocks : float
        How many blocks one of those who wait needs in the mean, > 0.
    num_waiting : int
        How many wait.
    """
    tokens = blocks * owner.instance.kv.block_size
    more = min(num_waiting, (owner.coming_blocks + blocks) / waiting_blocks) - min(
        num_waiting, owner.coming_blocks / waiting_blocks
    )
    owner.batch += more
    owner.here_tokens += more * waiting_blocks * owner.instance.kv.block_size - tokens
    name = holder.instance.id
    owner.away_tokens[name] = owner.away_tokens.get(name, 0.0) + tokens
    owner.coming_blocks += blocks
    hold(holder, blocks)


def hold(holder: Ledger, blocks: int) -> None:
    """Let a ledger show that so many more blocks are held for others."""
    holder.free_blocks -= blocks
    holder.coming_blocks -= blocks
    holder.guest_tokens += blocks * holder.instance.kv.block_size


def movable_blocks(state: RequestState) -> int:
    """How many of the oldest blocks of a running request can leave its instance now."""
    if not state.block_size:
        return 0
    full = state.computed_tokens // state.block_size - state.away_blocks
    return max(0, min(full, len(state.blocks) - 1))


def split(
    needed: int, home: Ledger, holders: Sequence[Ledger], use_frac: float, spare_blocks: int, max_holders: int
) -> dict[Id, int] | None:
    """Divide the blocks of a new request; None when they do not fit.

    Home keeps what it can. Of a request that fits into no instance it keeps as much as makes all of them read about
    the same, since the slowest is waited for; and so the others share what home cannot keep.

    Parameters
    ----------
    needed : int
        How many, >= 1.
    home : Ledger
        Where it is to run; at least one block stays there.
    holders : sequence of Ledger
        Who could hold some, those with the most room first.
    use_frac : float
        Holders keep at most this share of their memory in use.
    spare_blocks : int
        Home keeps so many blocks free.
    max_holders : int
        The most that hold some, >= 1.

    Returns
    -------
    dict of str to int or None
        Blocks by holder, none where all of them fit at home; the rest stays there.
    """
    some = [home, *holders[:max_holders]]
    rooms = [home.free_blocks - spare_blocks, *(holder.room_blocks(use_frac) for holder in some[1:])]
    if rooms[0] < 1:
        return None
    first = min(needed, rooms[0]) if needed < home.instance.kv.num_blocks else 1
    shares, left = [first] + [0] * (len(some) - 1), needed - first
    size = home.instance.kv.block_size
    loads = [(ledger.here_tokens + ledger.guest_tokens) / size for ledger in some]
    portion = -(-needed // PORTIONS)
    while left:
        able = [index for index, room in enumerate(rooms) if room > shares[index]]
        if not able:
            return None
        least = min(able, key=lambda index: loads[index] + shares[index])
        num = min(portion, left, rooms[least] - shares[least])
        shares[least] += num
        left -= num
    return {holder.instance.id: share for holder, share in zip(some[1:], shares[1:], strict=True) if share}
