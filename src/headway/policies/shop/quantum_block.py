"""From a protocol to a block of slots: as soon as possible on the qubits that there are, then as late as possible.

A pair occupies one qubit at each of its ends from the first slot of its making until it is measured away. Making a
pair takes the node's communication qubit; what is done is moved to a storage qubit when the next is to be made.
Late pairs are young pairs, and young pairs are good ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from headway.core.nouns import Id
from headway.policies.shop.quantum_nouns import Hold, Op, Protocol
from headway.policies.shop.quantum_search import Tree

LOCAL_SLOTS = 1
"""How long a swap or a distillation takes."""
NEVER = 1 << 40


class Qubit(Struct):
    """A qubit that keeps one end of a pair, from the operation that made it to the one that frees it."""

    node: Id
    made_by: int
    freed_by: int = -1  # the end of the protocol


class _Plan(Struct):
    """A protocol under way to its times."""

    trees: list[Tree]
    inputs: list[tuple[int, ...]]
    qubits: list[Qubit]
    num_slots: list[int]
    starts: list[int]

    def is_making(self, op: int) -> bool:
        return self.trees[op].kind == "generate"

    def end(self, op: int) -> int:
        return self.starts[op] + self.num_slots[op]

    def span(self, qubit: Qubit) -> tuple[int, int]:
        """When it is occupied, as far as this is known."""
        if qubit.freed_by < 0:
            return self.starts[qubit.made_by], self.end(len(self.trees) - 1)
        return self.starts[qubit.made_by], self.end(qubit.freed_by)


def block(tree: Tree, slot_s: float, num_storage: int = 3) -> Protocol | None:
    """Place the operations of a protocol in slots; None when there are too few qubits for it.

    Parameters
    ----------
    tree : Tree
        What is to be done.
    slot_s : float
        How long a slot is, in seconds, > 0.
    num_storage : int
        Storage qubits per node, beside one for communication, >= 0; 3.
    """
    plan = _unfolded(tree, slot_s)
    if not _place_soon(plan, num_storage + 1):
        return None
    soon = list(plan.starts)
    _place_late(plan)
    if not all(_level(plan, node, num_storage + 1) for node in {qubit.node for qubit in plan.qubits}):
        plan.starts = soon
    first = min(plan.starts)
    plan.starts = [start - first for start in plan.starts]
    return _told(plan)


def _unfolded(tree: Tree, slot_s: float) -> _Plan:
    """List the operations so that each comes after those whose pairs it takes, and follow the qubits through them."""
    plan = _Plan([], [], [], [], [])

    def visit(one: Tree) -> tuple[int, dict[Id, Qubit]]:
        """Return the place of an operation, and the qubits of its pair by node."""
        below = [visit(child) for child in one.inputs]
        place = len(plan.trees)
        plan.trees.append(one)
        plan.inputs.append(tuple(made for made, _ in below))
        if one.kind == "generate":
            plan.num_slots.append(max(math.ceil(1 / (one.rate_per_s * slot_s) - 1e-9), 1))
            pair = {node: Qubit(node, place) for node in one.at}
            plan.qubits += pair.values()
            return place, pair
        plan.num_slots.append(LOCAL_SLOTS)
        (_, kept), (_, spent) = below
        freed = [kept[one.at[0]], spent[one.at[0]]] if one.kind == "swap" else list(spent.values())
        for qubit in freed:
            qubit.freed_by = place
        return place, {node: q for pair in (spent, kept) for node, q in pair.items() if q.freed_by < 0}

    visit(tree)
    plan.starts = [NEVER] * len(plan.trees)
    return plan


def _place_soon(plan: _Plan, num_qubits: int) -> bool:
    """Place one operation after the other where it can be first; says whether all could be."""
    for op, inputs in enumerate(plan.inputs):
        if not plan.is_making(op):
            plan.starts[op] = max(plan.end(one) for one in inputs)
            continue
        tries = sorted({0} | {plan.end(one) for one in range(op)})
        plan.starts[op] = next((at for at in tries if _fits(plan, op, at, num_qubits)), NEVER)
        if plan.starts[op] == NEVER:
            return False
    return True


def _fits(plan: _Plan, op: int, at: int, num_qubits: int) -> bool:
    """Whether a pair can be made then, given what stands before it in the list; what is not freed yet never will be."""
    if not _is_free(plan, op, at, range(op)):
        return False
    for node in plan.trees[op].at:
        spans = []
        for qubit in plan.qubits:
            if qubit.node == node and qubit.made_by < op:
                is_open = qubit.freed_by < 0 or qubit.freed_by >= op
                spans.append((plan.starts[qubit.made_by], NEVER if is_open else plan.end(qubit.freed_by)))
        points = [at, *(start for start, _ in spans if start > at)]
        if any(sum(start <= point < end for start, end in spans) >= num_qubits for point in points):
            return False
    return True


def _is_free(plan: _Plan, op: int, at: int, others: Sequence[int]) -> bool:
    """Whether the communication qubits at both ends of a new pair are free of these others."""
    ends, until = set(plan.trees[op].at), at + plan.num_slots[op]
    return not any(
        plan.is_making(one) and ends & set(plan.trees[one].at) and plan.starts[one] < until and at < plan.end(one)
        for one in others
        if one != op
    )


def _place_late(plan: _Plan) -> None:
    """Make pairs as late as their users allow, the last first; then swap and distil as soon as pairs are there."""
    users = {one: op for op, inputs in enumerate(plan.inputs) for one in inputs}
    length = plan.end(len(plan.trees) - 1)
    for op in reversed(range(len(plan.trees))):
        if not plan.is_making(op):
            plan.starts[op] = (plan.starts[users[op]] if op in users else length) - plan.num_slots[op]
    makers = sorted((op for op in range(len(plan.trees)) if plan.is_making(op)), key=lambda op: -plan.starts[op])
    for op in makers:
        latest = (plan.starts[users[op]] if op in users else length) - plan.num_slots[op]
        tries = {latest} | {plan.starts[one] - plan.num_slots[op] for one in makers}
        fitting = [at for at in tries if plan.starts[op] <= at <= latest and _is_free(plan, op, at, makers)]
        plan.starts[op] = max([plan.starts[op], *fitting])
    for op, inputs in enumerate(plan.inputs):
        if not plan.is_making(op):
            plan.starts[op] = max(plan.end(one) for one in inputs)


def _level(plan: _Plan, node: Id, num_qubits: int) -> bool:
    """Whether a node has qubits enough at all times."""
    spans = [plan.span(qubit) for qubit in plan.qubits if qubit.node == node]
    return all(sum(start <= point < end for start, end in spans) <= num_qubits for point, _ in spans)


def _told(plan: _Plan) -> Protocol:
    ops = tuple(
        Op(tree.kind, tree.at, inputs, start, num, tree.fidelity, tree.success)
        for tree, inputs, start, num in zip(plan.trees, plan.inputs, plan.starts, plan.num_slots, strict=True)
    )
    return Protocol(ops, tuple(Hold(qubit.node, *plan.span(qubit)) for qubit in plan.qubits))
