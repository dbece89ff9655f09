"""Schedulers of a network's table: every run of every demand between its release and its deadline, or nothing.

What a run occupies is a question of the model: the whole network (``uni``), all its nodes from start to end (a block),
or the communication qubits of each operation and the storage of each pair, exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from headway.core.nouns import Id
from headway.policies.shop.quantum_budget import preempted
from headway.policies.shop.quantum_clairvoyant import clairvoyant
from headway.policies.shop.quantum_nouns import Entry, Piece, Protocol
from headway.policies.shop.quantum_problem import solved
from headway.policies.shop.quantum_runs import NETWORK, Run, by_deadline

Span: TypeAlias = tuple[Id, int, int]
Scheduler: TypeAlias = Callable[[Sequence[Run], int, int, int], "list[Entry] | None"]
"""(runs, slots of the table, qubits per node, budget in slots) -> entries, or None when a deadline would be missed."""


class Footprint(Struct, frozen=True):
    """What a run occupies from its start on: alone, or as one of as many as there are qubits."""

    alone: tuple[Span, ...]
    shared: tuple[Span, ...] = ()


def whole_network(protocol: Protocol) -> Footprint:
    """Occupy everything from start to end."""
    return Footprint(((NETWORK, 0, protocol.num_slots),))


def whole_block(protocol: Protocol) -> Footprint:
    """Occupy all nodes that take part from start to end."""
    return Footprint(tuple((node, 0, protocol.num_slots) for node in protocol.nodes))


def exact(protocol: Protocol) -> Footprint:
    """Occupy communication qubits while pairs are made, and qubits while they keep them."""
    making = [op for op in protocol.ops if op.kind == "generate"]
    alone = tuple((node, op.start, op.end) for op in making for node in op.at)
    return Footprint(alone, tuple((hold.node, hold.start, hold.end) for hold in protocol.holds))


def inserted(
    runs: Sequence[Run], num_slots: int, num_qubits: int, footprint_of: Callable[[Protocol], Footprint]
) -> list[Entry] | None:
    """Place runs by earliest deadline, each in the first window in which all that it needs is free, without a break."""
    alone: dict[Id, np.ndarray] = defaultdict(lambda: np.zeros(num_slots, np.bool_))
    level: dict[Id, np.ndarray] = defaultdict(lambda: np.zeros(num_slots, np.int16))
    entries = []
    for run in sorted(runs, key=by_deadline):
        footprint, length = footprint_of(run.protocol), run.protocol.num_slots
        start = _first(footprint, run.release, run.deadline - length, alone, level, num_qubits)
        if start is None:
            return None
        for name, begin, end in footprint.alone:
            alone[name][start + begin : start + end] = True
        for name, begin, end in footprint.shared:
            level[name][start + begin : start + end] += 1
        entries.append(Entry(run.demand, run.release, run.deadline, (Piece(0, start, length),)))
    return entries


def _first(
    footprint: Footprint,
    start: int,
    latest: int,
    alone: dict[Id, np.ndarray],
    level: dict[Id, np.ndarray],
    num_qubits: int,
) -> int | None:
    """Find the first slot from which a footprint is free; every clash says how far to go on."""
    while start <= latest:
        on = max((_after(alone[name], start, begin, end) for name, begin, end in footprint.alone), default=start)
        if on == start and _is_room(footprint, start, level, num_qubits):
            return start
        start = max(on, start + 1)
    return None


def _after(taken: np.ndarray, start: int, begin: int, end: int) -> int:
    """Return from where a span would be past what is taken within it."""
    clash = np.flatnonzero(taken[start + begin : start + end])
    return start + int(clash[-1]) + 1 if len(clash) else start


def _is_room(footprint: Footprint, start: int, level: dict[Id, np.ndarray], num_qubits: int) -> bool:
    own: dict[Id, np.ndarray] = {}
    for name, begin, end in footprint.shared:
        if name not in own:
            own[name] = level[name].copy()
        own[name][start + begin : start + end] += 1
    return all(int(one.max(initial=0)) <= num_qubits for one in own.values())


def _np_edf(footprint_of: Callable[[Protocol], Footprint]) -> Scheduler:
    def scheduler(runs: Sequence[Run], num_slots: int, num_qubits: int, budget: int) -> list[Entry] | None:
        del budget  # nothing ever stands still
        return inserted(runs, num_slots, num_qubits, footprint_of)

    return scheduler


def _cedf(is_one: bool) -> Scheduler:
    def scheduler(runs: Sequence[Run], num_slots: int, num_qubits: int, budget: int) -> list[Entry] | None:
        del num_slots, num_qubits, budget  # a block has its nodes for itself
        return clairvoyant(runs, is_one=is_one)

    return scheduler


def _pb_edf(is_one: bool) -> Scheduler:
    def scheduler(runs: Sequence[Run], num_slots: int, num_qubits: int, budget: int) -> list[Entry] | None:
        del num_slots  # deadlines say enough
        return preempted(runs, num_qubits, budget, is_one=is_one)

    return scheduler


def _exact(runs: Sequence[Run], num_slots: int, num_qubits: int, budget: int) -> list[Entry] | None:
    del num_slots, num_qubits, budget
    return solved(runs)


SCHEDULERS: dict[str, Scheduler] = {
    "uni-np-edf": _np_edf(whole_network),
    "uni-cedf": _cedf(is_one=True),
    "uni-pb-edf": _pb_edf(is_one=True),
    "rcpsp-np-edf": _np_edf(whole_block),
    "rcpsp-nonblock-np-edf": _np_edf(exact),
    "rcpsp-cedf": _cedf(is_one=False),
    "rcpsp-pb-edf": _pb_edf(is_one=False),
    "rcpsp-exact": _exact,
}
"""By name: one resource or all qubits; non-preemptive, clairvoyant, or with a budget for preemptions."""
