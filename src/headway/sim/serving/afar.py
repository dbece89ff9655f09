"""What steps cost whose requests have keys and values on other instances, and what it costs those.

A step waits, in each layer, until the slowest of its holders has attended over what it holds; that goes on beside the
step's own attention. A holder's own steps take the longer for what it attends for others meanwhile, whose steps are
counted as if nothing was held for anybody: with what is, both are longer, in about the same proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import structs

from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.links import Links
from headway.sim.serving.price import BatchShape, Chunk, StepPrice
from headway.sim.serving.run import Run, away_tokens

CHANGE = 0.02
"""A holder whose steps are to take longer by more than this share plans them anew."""


class Afar:
    """Prices steps where something is lent.

    Parameters
    ----------
    board : ServingBoard
        Knows what is lent.
    links : Links
        How fast queries and answers travel.
    prices : mapping of str to StepPrice
        What steps cost, by instance.
    replan : callable of str
        Called with an instance whose steps take longer or less long from now on.
    """

    def __init__(
        self, board: ServingBoard, links: Links, prices: Mapping[Id, StepPrice], replan: Callable[[Id], None]
    ) -> None:
        self._board = board
        self._replan = replan
        self._links = links
        self._prices = prices
        self._shares: dict[Id, dict[Id, float]] = {}  # time of a holder per time of a home's own steps, by home

    def ends_of_decodes(self, instance: InstanceState, num_runs: int, start_s: Seconds) -> list[Seconds]:
        """Return when each of `num_runs` steps of all decodes ends, the first of which begins at `start_s`."""
        num, context = len(instance.decodes), instance.decodes.context_tokens - away_tokens(instance)
        base_s, token_s = self._prices[instance.id].decode_line(num)
        spent_s = self._spent_s(instance, {state.id: 1 for state in instance.lent.values() if state.decoding})
        waits_s = max((holder_s + self._way_s(instance, 1) for holder_s in spent_s.values()), default=0.0)
        slower = self._slower(instance)
        ends, at_s = [], start_s
        for _ in range(num_runs):
            at_s += slower * (base_s + max(token_s * context, waits_s))
            context += num
            ends.append(at_s)
        self._note(instance, (ends[0] - start_s) / slower, spent_s)
        return ends

    def step_s(self, instance: InstanceState, run: Run, alone_s: Seconds) -> Seconds:
        """Return how long a step takes that would take `alone_s` without what is elsewhere."""
        pieces = {piece.request: piece.tokens for piece in run.rest}
        if run.whole:
            pieces |= dict.fromkeys(instance.decodes.members, 1)
        spent_s = self._spent_s(instance, pieces)
        took_s = alone_s
        if spent_s:
            shape = run.shape
            bare = [structs.replace(chunk, context_tokens=0) for chunk in shape.chunks]
            floor_s = self._prices[instance.id].step_s(structs.replace(shape, context_tokens=0, chunks=tuple(bare)))
            num = sum(pieces.get(request, 0) for request in instance.lent)
            waits_s = max(spent_s.values()) + self._way_s(instance, num)
            took_s = max(floor_s + max(alone_s - floor_s, waits_s), self._written_s(instance, pieces))
        self._note(instance, took_s, spent_s)
        return took_s * self._slower(instance)

    def _spent_s(self, instance: InstanceState, pieces: Mapping[Id, int]) -> dict[Id, Seconds]:
        """Return how long each holder attends for a step."""
        decodes: dict[Id, list[int]] = {}
        spent_s: dict[Id, Seconds] = {}
        for state in instance.lent.values():
            tokens = pieces.get(state.id, 0)
            for holder, held in self._held(state) if tokens else ():
                if tokens == 1:
                    decodes.setdefault(holder, []).append(held)
                else:
                    spent_s[holder] = spent_s.get(holder, 0.0) + self._chunk_s(holder, tokens, held)
        for holder, contexts in decodes.items():
            token_s = self._prices[holder].decode_line(len(contexts))[1]
            spent_s[holder] = spent_s.get(holder, 0.0) + token_s * sum(contexts)
        return spent_s

    def _held(self, state: RequestState) -> list[tuple[Id, int]]:
        """Return how many computed tokens of a request each parcel has."""
        left, found = state.computed_tokens, list[tuple[Id, int]]()
        for parcel in self._board.lending.parcels[state.id]:
            tokens = min(left, len(parcel.blocks) * state.block_size)
            left -= tokens
            if tokens:
                found.append((parcel.holder, tokens))
        return found

    def _chunk_s(self, holder: Id, tokens: int, held: int) -> Seconds:
        """Return how long new tokens of a prompt take to attend over what is held."""
        price = self._prices[holder]
        with_it, without = (price.step_s(BatchShape(0, 0, (Chunk(tokens, context),))) for context in (held, 0))
        return with_it - without

    def _way_s(self, instance: InstanceState, num_tokens: int) -> Seconds:
        """Return how long queries and answers are on their way, in all layers."""
        return instance.num_layers * self._links.round_s + self._links.attend_s(num_tokens)

    def _written_s(self, instance: InstanceState, pieces: Mapping[Id, int]) -> Seconds:
        """Return how long new keys and values take to where they are to lie."""
        tokens = 0
        for state in instance.lent.values():
            room = state.away_blocks * state.block_size - state.computed_tokens
            tokens += max(0, min(pieces.get(state.id, 0), room))
        return self._links.wire_s(tokens)

    def _slower(self, instance: InstanceState) -> float:
        """Return how much longer steps take for what is held here for others, and for what is on its way."""
        shares = self._shares.get(instance.id, {})
        instances = self._board.instances
        share = sum(frac for home, frac in shares.items() if home in instances and instances[home].busy)
        excess = 0
        for loan in self._board.lending.loans.values():
            if self._board.requests[loan.id].instance == instance.id:
                excess += max(0, loan.tokens_per_step - self._links.hidden_tokens)
        return (1 + self._links.copy_frac * excess) * (1 + share)

    def _note(self, instance: InstanceState, took_s: Seconds, spent_s: Mapping[Id, Seconds]) -> None:
        for holder in dict.fromkeys([*self._shares, *spent_s]):
            shares = self._shares.setdefault(holder, {})
            before, now = shares.get(instance.id, 0.0), spent_s.get(holder, 0.0) / took_s
            if now:
                shares[instance.id] = now
            else:
                shares.pop(instance.id, None)
            if abs(now - before) > CHANGE:
                self._replan(holder)
