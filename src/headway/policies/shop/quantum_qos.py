"""Entanglement as promised: one table of slots for a whole quantum network; a demand is taken only if it fits in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from headway.core.actions import Action, Reject
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id
from headway.policies.shop.quantum_block import block
from headway.policies.shop.quantum_board import QuantumView
from headway.policies.shop.quantum_nouns import COMMUNICATION, NODE, STORAGE, Demand, Protocol, Serve, Table
from headway.policies.shop.quantum_paths import shortest
from headway.policies.shop.quantum_runs import all_runs, period_of
from headway.policies.shop.quantum_schedulers import SCHEDULERS
from headway.policies.shop.quantum_search import search

Name = Literal[
    "uni-np-edf", "uni-cedf", "uni-pb-edf", "rcpsp-np-edf", "rcpsp-nonblock-np-edf", "rcpsp-cedf", "rcpsp-pb-edf",
    "rcpsp-exact",
]  # fmt: skip


class QuantumQos:
    """Takes demands for entangled pairs one by one, and keeps rate and fidelity of all that it has taken.

    Each demand becomes a protocol (pairs over fibres, swaps, distillations), the protocol a block of slots on the
    qubits of its nodes, the block a periodic task. A scheduler places all runs of all tasks in a table as long as the
    longest period, which the network repeats; a demand with which there is no table is rejected.

    Parameters
    ----------
    scheduler : str
        What may happen beside each other, and who is first. ``"uni-..."`` does one thing at a time in the whole
        network, ``"rcpsp-..."`` whatever needs different nodes. ``"np-edf"``: earliest deadline first without breaks,
        each run a block of all its nodes; ``"nonblock-np-edf"``: the same by the exact use of every qubit;
        ``"cedf"``: clairvoyant, idles for what is about to come; ``"pb-edf"``: runs may be stopped within a budget;
        ``"exact"``: blocks placed by the exact planner, which takes up to five seconds (and ``headway[shop]``).
        ``"rcpsp-np-edf"`` by default.
    budget_slots : int
        For how many slots a run may stand still with ``"pb-edf"``, >= 0; 100, that of the authors' code.
    max_period_slots : int
        Demands that want pairs less often get them so often, a power of two; 4096. It bounds the table.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Skrzypczyk, Wehner, "An Architecture for Meeting Quality-of-Service Requirements in Multi-User Quantum
    Networks", 2021, arXiv 2111.13124.

    Faithful to the paper: Werner states, swaps and distillation; the search for a protocol over a path; one
    communication and three storage qubits per node, slots of 10 ms, operations as soon and then as late as possible;
    periods rounded to powers of two; admission one by one; the schedulers by name. Left out: failures of distillation
    in the length of a block, as there. Reconstructed, for we had the abstract and a description of the authors' code:
    the search keeps few structures, the settings of fibres are drawn out between published ends, runs are placed by
    insertion, and the storage of a run that can be stopped is kept for it from start to end.

    Cost: a table takes O(runs x nodes x clashes); hundredths of a second for a hundred runs.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.quantum_world import small_world
    >>> simulate(small_world(seed=0)[0], QuantumQos()).num_refused
    0
    """

    def __init__(
        self, *, scheduler: Name = "rcpsp-np-edf", budget_slots: int = 100, max_period_slots: int = 4096
    ) -> None:
        self.scheduler = scheduler
        self.budget_slots = budget_slots
        self.max_period_slots = max_period_slots
        if scheduler not in SCHEDULERS:
            raise ConfigError(f"shop/quantum-qos: scheduler must be one of {', '.join(SCHEDULERS)}, got {scheduler!r}.")
        if budget_slots < 0:
            raise ConfigError(f"shop/quantum-qos: budget_slots must be >= 0, got {budget_slots}. Try 100.")
        if max_period_slots < 1 or max_period_slots & (max_period_slots - 1):
            raise ConfigError(
                f"shop/quantum-qos: max_period_slots must be a power of two, got {max_period_slots}. Try 4096."
            )

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget: all that counts is in the view."""
        del rng

    def decide(self, event: Event, view: QuantumView) -> Iterable[Action]:
        """Answer whoever waits: with a table, or with a reason."""
        del event
        return list(self._answers(view))

    def _answers(self, view: QuantumView) -> Iterator[Action]:
        table, served = view.table, list(view.served)
        for demand in view.waiting.values():
            found = self._protocol(demand, view)
            if isinstance(found, str):
                yield Reject(demand.id, found)
                continue
            grown = self.table({name: table.protocols[name] for name in served} | {demand.id: found}, table.periods | {
                demand.id: self._period(demand, view)
            }, view)  # fmt: skip
            if grown is None:
                yield Reject(demand.id, "there is no table that keeps what others were promised")
                continue
            table, served = grown, [*served, demand.id]
            yield Serve(demand.id, {name: {COMMUNICATION: 1.0} for name in found.nodes}, grown)

    def table(self, protocols: dict[Id, Protocol], periods: dict[Id, int], view: QuantumView) -> Table | None:
        """Place all runs of these demands; None when a deadline would be missed."""
        periods = {name: periods[name] for name in protocols}
        runs, num_slots = all_runs(protocols, periods)
        entries = SCHEDULERS[self.scheduler](runs, num_slots, self._num_qubits(view), self.budget_slots)
        if entries is None:
            return None
        return Table(
            num_slots, protocols, periods, tuple(sorted(entries, key=lambda entry: (entry.start, entry.demand)))
        )

    def _protocol(self, demand: Demand, view: QuantumView) -> Protocol | str:
        """Find the protocol of a demand, or why there is none."""
        way = shortest(view.fibres, demand.source, demand.target)
        if way is None or len(way[0]) < 2:
            return f"there is no way from {demand.source} to {demand.target}"
        tree = search(*way, demand.fidelity, demand.rate_per_s)
        if tree is None:
            return f"no protocol reaches a fidelity of {demand.fidelity:g} at {demand.rate_per_s:g} pairs per second"
        found = block(tree, view.slot_s, self._num_qubits(view) - 1)
        if found is None:
            return "its protocol needs more qubits than nodes have"
        if found.num_slots > self._period(demand, view):
            return f"a pair takes {found.num_slots} slots, too long for {demand.rate_per_s:g} per second"
        return found

    def _period(self, demand: Demand, view: QuantumView) -> int:
        return min(period_of(demand, view.slot_s), self.max_period_slots)

    def _num_qubits(self, view: QuantumView) -> int:
        """How many qubits every node has at least."""
        nodes = [node for node in view.resources.values() if node.kind == NODE]
        return int(min(node.capacity[COMMUNICATION] + node.capacity[STORAGE] for node in nodes))
