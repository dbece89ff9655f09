"""The visible state of a quantum network: its nodes and fibres, who is served, who waits, the table in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from headway.core.actions import Action, Reject, Start
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.quantum_nouns import Demand, Fibre, Serve, Table
from headway.policies.shop.quantum_tables import faults

EMPTY = Table(1, {}, {}, ())


class QuantumView(Protocol):
    """What a policy may see of a quantum network."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The nodes."""

    @property
    def fibres(self) -> tuple[Fibre, ...]:
        """What joins them."""

    @property
    def waiting(self) -> Mapping[Id, Demand]:
        """Demands that nobody has answered yet, in order of arrival."""

    @property
    def served(self) -> Mapping[Id, Demand]:
        """Demands that are served."""

    @property
    def table(self) -> Table:
        """The last one given; those who have all their pairs may still be in it."""

    @property
    def slot_s(self) -> Seconds:
        """How long a slot is."""


class QuantumBoard:
    """Keeps the books of demands, and takes no table that nodes could not follow.

    Parameters
    ----------
    nodes : sequence of Resource
        With capacities of ``communication`` and ``storage`` qubits.
    fibres : sequence of Fibre
        What joins them.
    slot_s : float
        How long a slot is, in seconds, > 0; 0.01.
    max_wait_slots : int
        For how many slots pairs may wait in storage beyond what their protocol says, >= 0; 100.
    """

    def __init__(
        self,
        nodes: Sequence[Resource],
        fibres: Sequence[Fibre],
        slot_s: Seconds = 0.01,
        max_wait_slots: int = 100,
    ) -> None:
        self.now_s: Seconds = 0.0
        self.slot_s = slot_s
        self.max_wait_slots = max_wait_slots
        self.fibres = tuple(fibres)
        self.table = EMPTY
        self.resources: Mapping[Id, Resource] = MappingProxyType({node.id: node for node in nodes})
        self._waiting: dict[Id, Demand] = {}
        self._served: dict[Id, Demand] = {}
        self.waiting: Mapping[Id, Demand] = MappingProxyType(self._waiting)
        self.served: Mapping[Id, Demand] = MappingProxyType(self._served)

    def add(self, demand: Demand) -> None:
        """Let a demand wait."""
        self._waiting[demand.id] = demand

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Reject):
            return None if self._waiting.pop(action.id, None) else "it is not waiting"
        if isinstance(action, Start) and not isinstance(action, Serve):
            return "a demand is served by a table: `Serve`"
        if not isinstance(action, Serve):
            return f"a quantum network does not know {type(action).__name__}"
        if action.id not in self._waiting:
            return "it is not waiting"
        why = self._wrong(action.id, action.table)
        if why is None:
            self._served[action.id] = self._waiting.pop(action.id)
            self.table = action.table
        return why

    def finish(self, demand: Id) -> None:
        """Forget a demand that has its pairs."""
        del self._served[demand]

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        return hash((self.now_s, tuple(self._waiting), tuple(self._served), self.table.entries))

    def _wrong(self, newest: Id, table: Table) -> str | None:
        demands = {**self._served, newest: self._waiting[newest]}
        if missing := sorted(set(demands) - set(table.protocols)):
            return f"the table leaves {missing[0]} out"
        for name, demand in demands.items():
            protocol = table.protocols[name]
            if set(protocol.ends()) != {demand.source, demand.target}:
                return f"the protocol of {name} does not join {demand.source} and {demand.target}"
            if protocol.fidelity < demand.fidelity - 1e-9:
                return f"the pairs of {name} would have a fidelity of {protocol.fidelity:.3f}"
            if table.periods[name] * self.slot_s * demand.rate_per_s > 1 + 1e-9:
                return f"{name} would get too few pairs"
        found = faults(table, self.resources, self.max_wait_slots)
        return found[0] if found else None
