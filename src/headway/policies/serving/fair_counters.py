"""Virtual token counters: how much service each tenant has been given, and where one begins that comes back."""

from __future__ import annotations

from collections.abc import Mapping, Set

from headway.core.nouns import Id
from headway.policies.serving.state import RequestState

MAX_IDLE = 10_000
"""Of more tenants without work than these, those that were given least are forgotten, whatever they were given."""
FEW = 64
"""So few are not worth looking through."""


class Ticket:
    """A request that has been started, and for how many tokens of its output its tenant has been charged."""

    __slots__ = ("output_tokens", "state", "tenant")

    def __init__(self, state: RequestState) -> None:
        self.state = state
        self.tenant = state.request.tenant
        self.output_tokens = 0


class Counters:
    """What each tenant has been given: weighted tokens, divided by the weight of the tenant.

    They are brought up to date by `settle`, before somebody is chosen by them; in between nothing is counted.

    Parameters
    ----------
    prompt_weight, output_weight : float
        What a computed token of a prompt and a token of an output count, >= 0.
    weights : mapping of str to float
        How much a tenant may have where others have 1, > 0; 1 for those that are not named.
    """

    def __init__(self, prompt_weight: float, output_weight: float, weights: Mapping[str, float]) -> None:
        self._prompt_weight = prompt_weight
        self._output_weight = output_weight
        self._weights = weights
        self._given: dict[str, float] = {}
        self._new: dict[Id, RequestState] = {}  # arrived since accounts were settled
        self._waiting: dict[Id, RequestState] = {}
        self._started: dict[Id, Ticket] = {}
        self._level = 0.0  # where the least of those who wait was at the last settlement; it never falls
        self._last = ""  # whose request was the last to start
        self._last_turn = 0
        self._tidy_at = FEW

    def __len__(self) -> int:
        """How many tenants are remembered."""
        return len(self._given)

    @property
    def num_open(self) -> int:
        """How many requests have come and not ended."""
        return len(self._new) + len(self._waiting) + len(self._started)

    def of(self, tenant: str) -> float:
        """Return what a tenant had been given when accounts were settled; the level for one who was forgotten."""
        return self._given.get(tenant, self._level)

    def price(self, state: RequestState, cached_tokens: int) -> float:
        """Return what starting a request adds to its tenant's counter: nothing if it was started before."""
        if state.id in self._started:
            return 0.0
        tokens = max(0, state.request.prompt_tokens - cached_tokens)
        return tokens * self._prompt_weight / self._weights.get(state.request.tenant, 1.0)

    # What happens ----------------------------------------------------------------------------------------------------

    def arrive(self, state: RequestState) -> None:
        """Note a request that is new."""
        self._new[state.id] = state

    def end(self, request: Id) -> None:
        """Charge what has not been charged of a request that has ended, and forget it."""
        ticket = self._started.get(request)
        if ticket is None:
            state = self._waiting.pop(request, None) or self._new.pop(request, None)
            if state is None or state.first_step_s is None:
                return
            ticket = self._start(state)
        self._charge(ticket)
        del self._started[request]
        self._tidy()

    def settle(self) -> None:
        """Charge all that was given since the last time, and lift those who have come back."""
        for ticket in self._started.values():
            self._charge(ticket)
        for group in (self._waiting, self._new):
            for state in [state for state in group.values() if state.blocks or state.num_preempted]:
                del group[state.id]
                self._charge(self._start(state))
        self._lift()
        self._tidy()

    # Charging --------------------------------------------------------------------------------------------------------

    def _start(self, state: RequestState) -> Ticket:
        if state.turn >= self._last_turn:
            self._last, self._last_turn = state.request.tenant, state.turn
        self._give(state.request.tenant, self.price(state, state.cached_tokens))
        ticket = self._started[state.id] = Ticket(state)
        return ticket

    def _charge(self, ticket: Ticket) -> None:
        tokens = ticket.state.output_tokens - ticket.output_tokens
        if tokens:
            ticket.output_tokens += tokens
            self._give(ticket.tenant, tokens * self._output_weight / self._weights.get(ticket.tenant, 1.0))

    def _give(self, tenant: str, amount: float) -> None:
        self._given[tenant] = self.of(tenant) + amount

    # Coming back -----------------------------------------------------------------------------------------------------

    def _lift(self) -> None:
        """Let tenants that have begun to wait begin no lower than those who waited: idle time is no credit."""
        waiting = {state.request.tenant for state in self._waiting.values()}
        level = min([self.of(tenant) for tenant in waiting]) if waiting else self.of(self._last)
        for state in self._new.values():
            tenant = state.request.tenant
            if tenant not in waiting:
                given = self._given[tenant] = max(self.of(tenant), level)
                level = given if not waiting else level  # where nobody waits, the first to come sets the level
                waiting.add(tenant)
        self._level = max(self._level, level)
        self._waiting |= self._new
        self._new = {}

    def _tidy(self) -> None:
        """Forget tenants without work who would be lifted anyway; now and then, so that it costs next to nothing."""
        if len(self._given) > self._tidy_at:
            self._given = _kept(self._given, self._at_work(), self._level)
            self._tidy_at = max(FEW, 2 * len(self._given))

    def _at_work(self) -> Set[str]:
        states = [*self._new.values(), *self._waiting.values()]
        return {self._last, *(s.request.tenant for s in states), *(t.tenant for t in self._started.values())}


def _kept(given: Mapping[str, float], at_work: Set[str], level: float) -> dict[str, float]:
    """Return the counters without those of the idle who are forgotten."""
    idle = [tenant for tenant in given if tenant not in at_work and given[tenant] > level]
    keep = {*at_work, *sorted(idle, key=lambda tenant: given[tenant], reverse=True)[:MAX_IDLE]}
    return {tenant: amount for tenant, amount in given.items() if tenant in keep}
