"""The books of lending: which blocks of running requests other instances hold.

A request runs at its *home*. Its oldest blocks may lie with *holders*, in parcels; the newest, and the place of its
next token, stay at home. Room at a holder is reserved before anything moves, and what is refused changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from headway.core.nouns import Amounts, Id
from headway.policies.serving.nouns import Lend
from headway.policies.serving.state import InstanceState, RequestState


class Parcel:
    """Consecutive blocks of one request that one instance holds.

    Attributes
    ----------
    holder : str
        The instance.
    blocks : list of int
        Its blocks, in order.
    """

    __slots__ = ("blocks", "holder")

    def __init__(self, holder: Id, blocks: list[int]) -> None:
        self.holder = holder
        self.blocks = blocks


class Loan:
    """Blocks on their way from one instance to another.

    Attributes
    ----------
    id : str
        The request.
    source, to : str
        From where and to where they move.
    blocks : list of int
        What is reserved for them at `to`.
    tokens_per_step : int
        How many tokens move per step of the request's home.
    """

    __slots__ = ("blocks", "id", "source", "to", "tokens_per_step")

    def __init__(self, id: Id, source: Id, to: Id, blocks: list[int], tokens_per_step: int) -> None:
        self.id = id
        self.source = source
        self.to = to
        self.blocks = blocks
        self.tokens_per_step = tokens_per_step


class Lending:
    """All that is lent on one board.

    Parameters
    ----------
    instances : mapping of str to InstanceState
        The board's instances.
    requests : mapping of str to RequestState
        The board's requests.

    Attributes
    ----------
    parcels : dict of str to list of Parcel
        What is away of each request, oldest first.
    loans : dict of str to Loan
        What is on its way, by request.
    hit : set of str
        Where those run whose blocks were lost with the instance that failed last.
    """

    def __init__(self, instances: Mapping[Id, InstanceState], requests: Mapping[Id, RequestState]) -> None:
        self._instances = instances
        self._requests = requests
        self.parcels: dict[Id, list[Parcel]] = {}
        self.loans: dict[Id, Loan] = {}
        self.hit: set[Id] = set()

    def __bool__(self) -> bool:
        return bool(self.parcels or self.loans)

    def concerns(self, request: Id) -> bool:
        """Whether something of a request is away, or on its way."""
        return request in self.parcels or request in self.loans

    def at(self, request: Id) -> dict[Id, int]:
        """Return how many blocks of a request each holder has."""
        found: dict[Id, int] = {}
        for parcel in self.parcels.get(request, ()):
            found[parcel.holder] = found.get(parcel.holder, 0) + len(parcel.blocks)
        return found

    # What boards call ------------------------------------------------------------------------------------------------

    def begin(self, action: Lend) -> str | None:
        """Reserve room for blocks that are to move; returns why not when they cannot."""
        state, to = self._requests.get(action.what), self._instances.get(action.to)
        home = self._instances.get(state.instance) if state is not None else None
        if state is None or home is None or state.id not in home.running or to is None:
            return f"there is no instance {action.to!r}" if to is None else "it is not running"
        if state.id in self.loans:
            return "blocks of it are on their way already"
        if home.num_stages > 1 or to.kv.block_size != home.kv.block_size:
            return "lending needs instances in one stage, with blocks of one size"
        source = action.source or home.id
        if action.blocks < 1 or action.tokens_per_step < 1 or source == to.id:
            return "at least one block must move, to another instance, at a rate of at least one token"
        if (why := self._why_not(state, home, source, action)) is not None:
            return why
        if action.blocks > to.kv.num_free or to.draining:
            return f"{to.id} has no room for it"
        blocks = to.kv.allocate(action.blocks)
        self.loans[state.id] = Loan(state.id, source, to.id, blocks, action.tokens_per_step)
        return None

    def over(self, loan: Loan) -> None:
        """Note that blocks have arrived: those at the source are free again."""
        del self.loans[loan.id]
        state, num = self._requests[loan.id], len(loan.blocks)
        home, source = self._instances[state.instance], self._instances[loan.source]
        if source is home:
            gone, state.blocks = state.blocks[:num], state.blocks[num:]
            self._put_away(state, home, loan.to, loan.blocks)
        else:
            gone = self._call_in(state, home, loan)
        source.kv.release(gone)

    def start(self, state: RequestState, home: InstanceState, on: Mapping[Id, Amounts]) -> str | None:
        """Give a request memory on several instances at once, its oldest blocks away from home; or say why not."""
        size = home.kv.block_size
        others = {name: amounts.get("kv_tokens", 0) for name, amounts in on.items() if name != home.id}
        mine = int(on[home.id].get("kv_tokens", 0))
        if home.num_stages > 1 or state.swapped_tokens:
            return "lending needs an instance in one stage, and memory that is not the host's"
        for name, tokens in others.items():
            holder = self._instances.get(name)
            if holder is None or holder.kv.block_size != size:
                return f"there is no instance {name!r} with blocks of {size} tokens"
            if tokens < size or tokens % size:
                return f"a holder takes full blocks of {size} tokens, {tokens:g} asked for"
            if tokens // size > holder.kv.num_free or holder.draining:
                return f"{name} has no room for it"
        if mine < 1 or home.kv.blocks_for(mine) > home.kv.num_free:
            return "there is not enough KV memory"
        if mine + sum(others.values()) < state.known_tokens:
            return f"{state.known_tokens} tokens are known, memory for {mine + sum(others.values()):g} asked for"
        state.blocks, state.block_size = home.kv.allocate(home.kv.blocks_for(mine)), size
        home.kv.num_queried_tokens += state.known_tokens
        for name, tokens in others.items():
            self._put_away(state, home, name, self._instances[name].kv.allocate(int(tokens) // size))
        return None

    def drop(self, state: RequestState, home: InstanceState | None) -> None:
        """Free all that holders have of a request, and what is reserved for it."""
        loan = self.loans.pop(state.id, None)
        parcels = self.parcels.pop(state.id, [])
        if loan is not None:
            parcels = [*parcels, Parcel(loan.to, loan.blocks)]
        for parcel in parcels:
            holder = self._instances.get(parcel.holder)
            if holder is not None:
                holder.guests.pop(state.id, None)
                holder.kv.release(parcel.blocks)
        state.away_blocks = 0
        if home is not None:
            home.lent.pop(state.id, None)

    def fail(self, holder: Id) -> list[RequestState]:
        """Forget what was on its way to an instance that fails; returns whose blocks are lost with it."""
        for loan in [loan for loan in self.loans.values() if loan.to == holder]:
            del self.loans[loan.id]
        found = [self._requests[request] for request in self._instances[holder].guests]
        self.hit = {state.instance for state in found}
        return found

    # What they share -------------------------------------------------------------------------------------------------

    def _why_not(self, state: RequestState, home: InstanceState, source: Id, action: Lend) -> str | None:
        if source == home.id:
            full = min(state.computed_tokens // state.block_size - state.away_blocks, len(state.blocks) - 1)
            if action.blocks > full:
                return f"{max(0, full)} full blocks of it can leave {source}, {action.blocks} asked for"
            return None
        last = next((parcel for parcel in reversed(self.parcels.get(state.id, [])) if parcel.holder == source), None)
        if last is None or action.blocks > len(last.blocks):
            return f"{source} holds {len(last.blocks) if last else 0} blocks at its end, {action.blocks} asked for"
        if action.to == home.id and last is not self.parcels[state.id][-1]:
            return "what comes home must be the newest that is away"
        return None

    def _call_in(self, state: RequestState, home: InstanceState, loan: Loan) -> list[int]:
        """Take the newest blocks from the last parcel of a holder, and put those that stand in for them in their place.

        Returns
        -------
        list of int
            The blocks that are free at the holder now.
        """
        parcels, num = self.parcels[state.id], len(loan.blocks)
        index = max(index for index, parcel in enumerate(parcels) if parcel.holder == loan.source)
        parcel = parcels[index]
        gone = parcel.blocks[-num:]
        del parcel.blocks[-num:]
        self._count(state, loan.source, -num)
        if loan.to == home.id:
            state.blocks = loan.blocks + state.blocks
            state.away_blocks -= num
        else:
            parcels.insert(index + 1, Parcel(loan.to, loan.blocks))
            self._count(state, loan.to, num)
        if not parcel.blocks:
            parcels.remove(parcel)
        if not parcels:
            del self.parcels[state.id]
            home.lent.pop(state.id, None)
        return gone

    def _put_away(self, state: RequestState, home: InstanceState, holder: Id, blocks: list[int]) -> None:
        parcels = self.parcels.setdefault(state.id, [])
        if parcels and parcels[-1].holder == holder:
            parcels[-1].blocks += blocks
        else:
            parcels.append(Parcel(holder, blocks))
        state.away_blocks += len(blocks)
        home.lent[state.id] = state
        self._count(state, holder, len(blocks))

    def _count(self, state: RequestState, holder: Id, num: int) -> None:
        guests = self._instances[holder].guests
        guests[state.id] = guests.get(state.id, 0) + num
        if not guests[state.id]:
            del guests[state.id]
