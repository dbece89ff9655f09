"""Earliest deadline first with a budget for preemptions: a run may be stopped between its operations, but not for long.

While a run stands still, its pairs grow old in storage. So the slots in which each run stands still are counted, and
whatever would keep it waiting beyond the budget does not begin. Storage is kept for a run from its first operation to
its last, so that nobody waits in a circle for qubits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from headway.core.nouns import Id
from headway.policies.shop.quantum_nouns import Entry, Piece, Protocol
from headway.policies.shop.quantum_runs import NETWORK, Run, by_deadline


class Part(Struct, frozen=True):
    """Slots of a protocol between two at which it can be stopped, and whose communication qubits they take."""

    offset: int
    num_slots: int
    nodes: frozenset[Id]


class _Course(Struct):
    """A run under way."""

    run: Run
    parts: tuple[Part, ...]
    peaks: Counter[Id]
    next_part: int = 0
    until: int = 0  # the end of its last part
    paused: int = 0
    pieces: list[Piece] = []

    @property
    def is_begun(self) -> bool:
        return self.next_part > 0

    @property
    def left(self) -> int:
        return sum(part.num_slots for part in self.parts[self.next_part :])

    @property
    def ahead(self) -> frozenset[Id]:
        """All nodes that the rest of it takes."""
        return frozenset().union(*(part.nodes for part in self.parts[self.next_part :]))


def preempted(runs: Sequence[Run], num_qubits: int, budget: int, *, is_one: bool) -> list[Entry] | None:
    """Give every free moment to the run with the earliest deadline, within budgets; None when a deadline is missed.

    Parameters
    ----------
    runs : sequence of Run
        To be placed.
    num_qubits : int
        Per node, those for communication included.
    budget : int
        For how many slots a run may stand still in all, >= 0.
    is_one : bool
        Whether the network is one resource; else each node's communication qubit is one.
    """
    known: dict[Id, tuple[tuple[Part, ...], Counter[Id]]] = {}
    for run in runs:
        known.setdefault(run.demand, (parts_of(run.protocol, is_one), peaks_of(run.protocol)))
    todo = [_Course(run, *known[run.demand], pieces=[]) for run in sorted(runs, key=by_deadline)]
    free_at: dict[Id, int] = {}
    entries, now = list[Entry](), 0
    while todo:
        if any(max(now, course.run.release, course.until) + course.left > course.run.deadline for course in todo):
            return None
        for course in todo:
            if (
                course.run.release <= now
                and course.until <= now
                and _may_go(course, now, todo, free_at, num_qubits, budget)
            ):
                _go(course, now, free_at)
        entries += [_entry(course) for course in todo if not course.left and course.until <= now]
        todo = [course for course in todo if course.left or course.until > now]
        ahead = (*free_at.values(), *(at for course in todo for at in (course.run.release, course.until)))
        now = min((at for at in ahead if at > now), default=now + 1)
    return entries


def parts_of(protocol: Protocol, is_one: bool) -> tuple[Part, ...]:
    """Cut a protocol wherever no operation is under way; parts that take no communication qubit join the one before."""
    parts: list[Part] = []
    for begin, end in zip(protocol.cuts, protocol.cuts[1:], strict=False):
        making = (op for op in protocol.ops if op.kind == "generate" and op.start < end and begin < op.end)
        nodes = frozenset(node for op in making for node in op.at)
        if parts and not nodes:
            parts[-1] = Part(parts[-1].offset, end - parts[-1].offset, parts[-1].nodes)
        else:
            parts.append(Part(begin, end - begin, frozenset((NETWORK,)) if is_one else nodes))
    return tuple(parts)


def peaks_of(protocol: Protocol) -> Counter[Id]:
    """Return how many qubits of each node a protocol occupies at most."""
    return Counter(
        {
            node: max(
                sum(other.node == node and other.start <= hold.start < other.end for other in protocol.holds)
                for hold in protocol.holds
                if hold.node == node
            )
            for node in protocol.nodes
        }
    )


def _may_go(
    course: _Course, now: int, todo: Sequence[_Course], free_at: dict[Id, int], num_qubits: int, budget: int
) -> bool:
    part = course.parts[course.next_part] if course.left else None
    if part is None or any(free_at.get(node, 0) > now for node in part.nodes):
        return False
    begun = [other for other in todo if other.is_begun and other is not course]
    if not course.is_begun:
        taken = sum((other.peaks for other in begun if other.left or other.until > now), Counter[Id]())
        if any(taken[node] + peak > num_qubits for node, peak in course.peaks.items()):
            return False
    end = now + part.num_slots
    return all(
        other.paused + max(end - other.until, 0) <= budget
        for other in begun
        if other.left and not part.nodes.isdisjoint(other.ahead)
    )


def _go(course: _Course, now: int, free_at: dict[Id, int]) -> None:
    part = course.parts[course.next_part]
    course.paused += now - course.until if course.is_begun else 0
    course.until, course.next_part = now + part.num_slots, course.next_part + 1
    free_at.update(dict.fromkeys(part.nodes, course.until))
    last = course.pieces[-1] if course.pieces else None
    if last and last.start + last.num_slots == now:
        course.pieces[-1] = Piece(last.offset, last.start, last.num_slots + part.num_slots)
    else:
        course.pieces.append(Piece(part.offset, now, part.num_slots))


def _entry(course: _Course) -> Entry:
    return Entry(course.run.demand, course.run.release, course.run.deadline, tuple(course.pieces))
