"""What a table is worth, what is wrong with it, and what one node has to do in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
from msgspec import Struct

from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.quantum_nouns import COMMUNICATION, STORAGE, Entry, Op, Table

Spans = dict[Id, list[tuple[int, int]]]


class Row(Struct, frozen=True, order=True):
    """What one node does: from slot `start` to `end`, for a demand, an operation of its protocol."""

    start: int
    end: int
    demand: Id
    op: int
    kind: str


class Quality(Struct, frozen=True):
    """What a table is worth.

    Parameters
    ----------
    pairs_per_s : float
        Delivered in all.
    response_s : float
        The longest time from a release to the pair.
    jitter_s2 : float
        The variance of the time between starts of one demand, the mean over demands.
    """

    pairs_per_s: float
    response_s: Seconds
    jitter_s2: float


def quality(table: Table, slot_s: Seconds) -> Quality:
    """Return what a table is worth, if nothing fails."""
    starts = defaultdict(list)
    for entry in table.entries:
        starts[entry.demand].append(entry.start)
    gaps = [np.diff([*sorted(one), sorted(one)[0] + table.num_slots]) for one in starts.values()]
    return Quality(
        pairs_per_s=len(table.entries) / (table.num_slots * slot_s),
        response_s=max((entry.end - entry.release for entry in table.entries), default=0) * slot_s,
        jitter_s2=float(np.mean([np.var(one) for one in gaps]) * slot_s**2) if gaps else 0.0,
    )


def rows_of(table: Table, node: Id) -> list[Row]:
    """Return what a node does, in order."""
    rows = []
    for entry in table.entries:
        for place, op in enumerate(table.protocols[entry.demand].ops):
            if node in op.at:
                rows.append(Row(*_moved(entry, op), entry.demand, place, op.kind))
    return sorted(rows)


def faults(table: Table, nodes: Mapping[Id, Resource], budget: int) -> list[str]:
    """Return what is wrong with a table, a clause each; empty when nodes can follow it.

    Parameters
    ----------
    table : Table
        To be checked.
    nodes : mapping of str to Resource
        With their qubits.
    budget : int
        For how many slots a run may stand still.
    """
    found = [*_of_entries(table, budget)]
    if found:
        return found
    making, keeping = _spans(table)
    for node in sorted(keeping):
        qubits = nodes[node].capacity if node in nodes else {}
        if not qubits:
            found.append(f"there is no node {node!r}")
        elif _most(making.get(node, [])) > qubits[COMMUNICATION]:
            found.append(f"{node} makes two pairs at a time")
        elif _most(keeping[node]) > qubits[COMMUNICATION] + qubits[STORAGE]:
            found.append(f"{node} keeps more pairs than it has qubits")
    return found


def _of_entries(table: Table, budget: int) -> Iterator[str]:
    counts = dict.fromkeys(table.protocols, 0)
    for entry in table.entries:
        name, protocol = entry.demand, table.protocols.get(entry.demand)
        if protocol is None:
            yield f"{name} has no protocol"
            continue
        counts[name] += 1
        if not entry.release <= entry.start < entry.end <= min(entry.deadline, table.num_slots):
            yield f"a run of {name} is not between its release and its deadline"
        done = [(piece.offset, piece.offset + piece.num_slots) for piece in entry.pieces]
        joints = [0, *[end for _, end in done]]
        if [begin for begin, _ in done] != joints[:-1] or joints[-1] != protocol.num_slots:
            yield f"a run of {name} leaves something out"
        elif not set(joints) <= set(protocol.cuts):
            yield f"a run of {name} stops in the middle of an operation"
        if entry.end - entry.start - protocol.num_slots > budget:
            yield f"a run of {name} stands still for more than {budget} slots"
    for name, num in counts.items():
        if num * table.periods[name] != table.num_slots:
            yield f"{name} has {num} runs in {table.num_slots} slots, not one in every {table.periods[name]}"


def _spans(table: Table) -> tuple[Spans, Spans]:
    """When nodes make pairs, and when their qubits keep them."""
    making, keeping = defaultdict(list), defaultdict(list)
    for entry in table.entries:
        protocol = table.protocols[entry.demand]
        for op in protocol.ops:
            if op.kind == "generate":
                for node in op.at:
                    making[node].append(_moved(entry, op))
        for hold in protocol.holds:
            keeping[hold.node].append((_at(entry, hold.start), _at(entry, hold.end - 1) + 1))
    return making, keeping


def _moved(entry: Entry, op: Op) -> tuple[int, int]:
    return _at(entry, op.start), _at(entry, op.end - 1) + 1


def _at(entry: Entry, slot: int) -> int:
    """Return when a slot of the protocol is, in the table."""
    piece = next(piece for piece in reversed(entry.pieces) if piece.offset <= slot)
    return piece.start + slot - piece.offset


def _most(spans: list[tuple[int, int]]) -> int:
    """Return how many spans there are at a time at most."""
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    level = most = 0
    for _, step in steps:
        level += step
        most = max(most, level)
    return most
