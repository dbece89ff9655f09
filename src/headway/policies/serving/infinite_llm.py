"""Infinite-LLM: instances whose batches are small for want of memory lend blocks of long requests to others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from headway.core.actions import Action, Start, Wake
from headway.core.errors import ConfigError
from headway.core.events import Changed, Event, Refused, Woke
from headway.core.nouns import Id, Seconds
from headway.policies.serving.lending_plan import Ledger, hold, joint_tokens_per_s, ledgers, lend, movable_blocks, split
from headway.policies.serving.nouns import Lend, RequestArrived
from headway.policies.serving.pace import Pace, Shape
from headway.policies.serving.seats import Neighbours, ServingView
from headway.policies.serving.state import InstanceState, RequestState

ROUND = "infinite-llm"
"""The tag of the wake-up for the next round of planning."""
AHEAD_STEPS = 64
"""Memory for so many more tokens of every request that runs is kept at home."""
MOST_ROUNDS = 4
"""No more blocks are lent at once than can move until this many rounds later."""
MOST_LOOKED_AT = 8
"""So many of the longest requests of an instance are considered for lending, in one round."""

Books = dict[Id, Ledger]


class InfiniteLlm:
    """Pools the memory of instances: the oldest blocks of long requests lie where there is room, and are read there.

    In every round it takes instances whose batch is small while others wait (debtors), the smallest batch first, and
    lends blocks of their longest requests to instances with room (creditors), as long as the two together are to give
    more tokens per second for it. A request that waits because its prompt does not fit starts with its oldest blocks
    elsewhere, on the same condition; one that fits into no instance alone always may. Where memory runs out for those
    who decode, blocks are lent as well, and an instance that has become short of room itself sends blocks back.

    Parameters
    ----------
    plan : str
        ``"greedy"``, the paper's, or ``"overflow"``: whoever does not fit borrows at once, without asking what it is
        worth, and nothing is planned.
    batch_below : int
        A debtor runs fewer requests than this, >= 1; 128, about where a step's time begins to grow with its batch.
    use_frac : float
        Nobody lends more than keeps this share of its memory in use, in (0, 1]; 0.8. The paper gives no number.
    period_s : float
        Seconds between rounds, > 0; 1.
    tokens_per_step : int
        How many tokens of a request move per step, >= 1; 16, which hides behind the step, the paper's.
    max_holders : int
        The most instances that hold blocks of one request, >= 1; 3.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Lin et al., "Infinite-LLM: Efficient LLM Service for Long Context with DistAttention and Distributed
    KVCache", 2024, arXiv 2401.02669 (version 2), sections on the debtors' and creditors' plan and on migration.

    Faithful to the paper: debtors by batch and creditors by use, the longest request first, the number of blocks that
    is worth most by a model of both instances' steps, the newest blocks and the place of the next token at home, room
    reserved before anything moves and a refused move dropped until the next round, the throttle, ordinary dispatch.
    Changed: the model's times are learnt from the steps that were run, where the paper profiles them; its thresholds
    are not published and are set here. New prompts may begin with blocks elsewhere: the paper has memory borrowed when
    it runs out, without saying when a prompt may. Sending blocks back, of which the paper has no more than a mention,
    goes to home alone. Left out: prefills in parallel over several instances; the failure of a creditor recomputes.

    Not reproduced: in virtual time on four accelerators of one node, lengths of 1 to 60 K tokens gain a tenth over
    instances that do not share (1.35 to 1.73 times were published), and one instance over all four is quicker than
    these on lengths up to 200 K (published is the reverse, across nodes); `headway reproduce serving/infinite-llm`
    shows it, with what was tried to find the reasons. Planning is worth more than borrowing without asking, the longest
    context grows with the pooled memory, and the exactness of attention in parts is tested on live models.

    Cost: O(instances + requests that have lent) per event on which somebody is stuck; a round, at most
    O(debtors x 8 requests x creditors x 3).

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> from headway.core.actions import Move
    >>> pools = [InstanceState(name, BlockPool(64), num_layers=2) for name in "ab"]
    >>> view = ServingBoard(pools, frozenset({"lend"}))
    >>> long = view.add(Request(id="r", arrival_s=0.0, prompt_tokens=1500, max_tokens=8))
    >>> view.apply(Move("r", "a"))
    >>> seat = InfiniteLlm()
    >>> seat.reset(np.random.default_rng(0))
    >>> [action.on for action in seat.steer(Woke(at_s=0.0, tag="form"), view)]
    [{'a': {'kv_tokens': 732.0}, 'b': {'kv_tokens': 768.0}}]
    """

    def __init__(
        self,
        *,
        plan: Literal["greedy", "overflow"] = "greedy",
        batch_below: int = 128,
        use_frac: float = 0.8,
        period_s: Seconds = 1.0,
        tokens_per_step: int = 16,
        max_holders: int = 3,
    ) -> None:
        for name, value in (("batch_below", batch_below), ("tokens_per_step", tokens_per_step)):
            if value < 1:
                raise ConfigError(f"serving/infinite-llm: {name} must be >= 1, got {value}. Try the default.")
        if max_holders < 1 or not period_s > 0 or not 0 < use_frac <= 1:
            got = f"got {max_holders}, {period_s:g} and {use_frac:g}"
            limits = "max_holders must be >= 1, period_s > 0 and use_frac in (0, 1]"
            raise ConfigError(f"serving/infinite-llm: {limits}, {got}. Try 3, 1 and 0.8, the defaults.")
        self.plan: Literal["greedy", "overflow"] = plan
        self.batch_below = batch_below
        self.use_frac = use_frac
        self.period_s = period_s
        self.tokens_per_step = tokens_per_step
        self.max_holders = max_holders
        self._pace = Pace()
        self._armed = False

    def join(self, stack: Neighbours) -> None:
        """Learn the times of steps where the stack does."""
        self._pace = stack.pace

    def reset(self, rng: np.random.Generator) -> None:
        """Forget that a round is to come."""
        self._armed = False

    def refusal(self, state: RequestState, view: ServingView) -> str | None:
        """Turn away only what all instances together could not hold."""
        sizes = sorted(i.kv.num_blocks * i.kv.block_size for i in view.instances.values())
        most = sum(sizes[-1 - self.max_holders :]) if "lend" in view.can else sizes[-1]
        if state.reach_tokens > most:
            return f"it may come to {state.reach_tokens} tokens, and as many instances as may hold it have {most}"
        return None

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Start who is stuck with blocks elsewhere; in every round, lend and call back."""
        if "lend" not in view.can or isinstance(event, Refused | Changed):
            return []
        actions: list[Action] = []
        is_round = isinstance(event, Woke) and event.tag == ROUND
        stuck = [state for i in view.instances.values() if (state := _stuck(i, view)) is not None]
        if stuck or is_round:
            books = ledgers(view)
            actions += self._start_stuck(stuck, books)
            if is_round:
                actions += self._round(stuck, books, view)
        if is_round:
            self._armed = False
        if not self._armed and view.requests and (is_round or isinstance(event, RequestArrived)):
            self._armed = True
            actions.append(Wake(view.now_s + self.period_s, ROUND))
        return actions

    # Who waits begins with blocks elsewhere --------------------------------------------------------------------------

    def _start_stuck(self, stuck: Sequence[RequestState], books: Books) -> Iterator[Start]:
        names = {state.instance for state in stuck}
        for state in stuck:
            home = books[state.instance]
            kv = home.instance.kv
            needed = kv.blocks_for(state.known_tokens)
            alone = needed < kv.num_blocks  # with its next token
            if alone and home.coming_blocks > needed:  # room is on its way
                continue
            use_frac = self.use_frac if alone and self.plan == "greedy" else 1.0
            holders = _others(books, home, names if alone else set())
            away = split(needed, home, holders, use_frac, _ahead_blocks(home, 1), self.max_holders)
            if not away or not self._is_worth(home, away, needed, books, alone):
                continue
            for name, blocks in away.items():
                hold(books[name], blocks)
            rest = state.known_tokens - sum(away.values()) * kv.block_size
            there = {name: {"kv_tokens": float(blocks * kv.block_size)} for name, blocks in away.items()}
            yield Start(state.id, {home.instance.id: {"kv_tokens": float(rest)}, **there})

    def _is_worth(self, home: Ledger, away: dict[Id, int], needed: int, books: Books, alone: bool) -> bool:
        """Whether home and holders together give more tokens with one request more that reads so much elsewhere."""
        if self.plan == "overflow" or not alone or not home.batch:
            return True
        before = [home, *(books[name] for name in away)]
        after = [ledger.twin() for ledger in before]
        size = home.instance.kv.block_size
        after[0].batch += 1
        after[0].here_tokens += (needed - sum(away.values())) * size
        for ledger, (name, blocks) in zip(after[1:], away.items(), strict=True):
            after[0].away_tokens[name] = after[0].away_tokens.get(name, 0.0) + blocks * size
            hold(ledger, blocks)
        return joint_tokens_per_s(self._pace, after) > joint_tokens_per_s(self._pace, before)

    # Rounds ----------------------------------------------------------------------------------------------------------

    def _round(self, stuck: Sequence[RequestState], books: Books, view: ServingView) -> Iterator[Lend]:
        names = {state.instance for state in stuck}
        for state in stuck:
            yield from self._call_back(books[state.instance].instance, books, view)
        for ledger in books.values():
            if ledger.coming_blocks < _ahead_blocks(ledger):
                yield from self._make_room(ledger, books, view)
        if self.plan == "greedy":
            debtors = [books[state.instance] for state in stuck if books[state.instance].batch < self.batch_below]
            for debtor in sorted(debtors, key=lambda ledger: (ledger.batch, ledger.instance.id)):
                yield from self._lend(debtor, _others(books, debtor, names), view)

    def _lend(self, debtor: Ledger, creditors: Sequence[Ledger], view: ServingView) -> Iterator[Lend]:
        waiting = list(debtor.instance.waiting.values())
        mean_blocks = sum(debtor.instance.kv.blocks_for(state.known_tokens) for state in waiting) / len(waiting)
        for state in self._lenders(debtor):
            best = self._best(debtor, creditors, state, mean_blocks, len(waiting), view)
            if best is None:
                return
            creditor, blocks = best
            lend(debtor, creditor, blocks, mean_blocks, len(waiting))
            debtor.moving.add(state.id)
            yield Lend(state.id, creditor.instance.id, blocks, tokens_per_step=self.tokens_per_step)

    def _lenders(self, debtor: Ledger) -> list[RequestState]:
        """Return the longest requests of an instance that have blocks to lend and none on their way."""
        running = debtor.instance.running.values()
        able = [state for state in running if state.id not in debtor.moving and movable_blocks(state)]
        return sorted(able, key=lambda state: -state.known_tokens)[:MOST_LOOKED_AT]

    def _best(
        self,
        debtor: Ledger,
        creditors: Sequence[Ledger],
        state: RequestState,
        mean_blocks: float,
        num_waiting: int,
        view: ServingView,
    ) -> tuple[Ledger, int] | None:
        """Return to whom how many blocks of a request are worth most; None when nothing is worth anything."""
        held, found, most = view.lending.at(state.id), None, 0.0
        wanted = max(1, int(num_waiting * mean_blocks - debtor.coming_blocks) + 1)
        top = min(movable_blocks(state), self._soon_blocks(debtor), wanted)
        for creditor in creditors:
            if creditor.instance.id not in held and len(held) >= self.max_holders:
                continue
            room = min(top, creditor.room_blocks(self.use_frac))
            before = joint_tokens_per_s(self._pace, (debtor, creditor))
            for blocks in {room, room // 2, room // 4} if room > 0 else ():
                after = debtor.twin(), creditor.twin()
                lend(*after, blocks, mean_blocks, num_waiting)
                gain = joint_tokens_per_s(self._pace, after) - before
                if blocks > 0 and gain > most:
                    found, most = (creditor, blocks), gain
        return found

    def _soon_blocks(self, debtor: Ledger) -> int:
        """Return how many blocks of one request can move within the next rounds."""
        batch = max(1, round(debtor.batch))
        step_s = self._pace.step_s(debtor.instance, Shape(batch, int(debtor.here_tokens)))
        steps = MOST_ROUNDS * self.period_s / step_s
        return max(1, int(steps * self.tokens_per_step) // debtor.instance.kv.block_size)

    def _make_room(self, ledger: Ledger, books: Books, view: ServingView) -> Iterator[Lend]:
        """Lend blocks of the longest request before memory runs out for those who decode."""
        for state in self._lenders(ledger)[:1]:
            blocks = min(movable_blocks(state), 2 * _ahead_blocks(ledger))
            rooms = {c.instance.id: c.room_blocks(1.0) - _ahead_blocks(c) for c in _others(books, ledger, set())}
            for creditor, room in sorted(rooms.items(), key=lambda item: -item[1])[:1]:
                if min(blocks, room) > 0:
                    lend(ledger, books[creditor], min(blocks, room), 1.0, 0)
                    ledger.moving.add(state.id)
                    yield Lend(state.id, creditor, min(blocks, room), tokens_per_step=self.tokens_per_step)

    def _call_back(self, instance: InstanceState, books: Books, view: ServingView) -> Iterator[Lend]:
        """Send blocks that an instance holds for others home, where there is room, since its own requests wait."""
        for request in instance.guests:
            home = books[view.requests[request].instance]
            parcel = view.lending.parcels[request][-1]
            if request in home.moving or parcel.holder != instance.id or home.instance.waiting:
                continue
            blocks = min(len(parcel.blocks), home.room_blocks(1.0) - 2 * _ahead_blocks(home), self._soon_blocks(home))
            if blocks > 0:
                home.free_blocks -= blocks
                home.moving.add(request)
                yield Lend(request, home.instance.id, blocks, instance.id, self.tokens_per_step)


def _stuck(instance: InstanceState, view: ServingView) -> RequestState | None:
    """Return who is first in line at an instance, if it cannot start for want of memory."""
    state = next(iter(instance.waiting.values()), None)
    if state is None or state.swapped_tokens or instance.num_stages > 1 or instance.draining:
        return None
    if instance.num_running >= instance.max_running:
        return None
    if not state.hashes:
        return state if instance.kv.blocks_for(state.known_tokens) > instance.kv.num_free else None
    cost, _ = view.draft().on(instance.id).cost(state, state.known_tokens)
    return state if cost > instance.kv.num_free else None


def _others(books: Books, ledger: Ledger, not_these: set[Id]) -> list[Ledger]:
    """Return who could hold blocks of an instance, those with the most room first."""
    size = ledger.instance.kv.block_size
    found = [other for other in books.values() if other is not ledger and other.instance.id not in not_these]
    able = [o for o in found if o.instance.kv.block_size == size and o.instance.num_stages == 1]
    return sorted((o for o in able if not o.instance.draining), key=lambda other: -other.free_blocks)


def _ahead_blocks(ledger: Ledger, more: int = 0) -> int:
    """How many blocks those who run at an instance, and so many more, will need soon."""
    return -(-(int(ledger.batch) + more) * AHEAD_STEPS // ledger.instance.kv.block_size)
