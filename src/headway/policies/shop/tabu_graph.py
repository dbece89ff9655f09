"""One orientation of the machines of a job shop, on plain arrays: heads, tails, a critical path, and moves.

Tasks are numbered 0 .. n - 1; n stands for "none" and has no duration. A move takes task `u` right after task `v` of
its machine (`forward`), or `v` right before `u`; in between, the machine runs ``u, ..., v``.

Heads here are the ends of tasks (head plus duration) and tails include the task's own duration, so that the longest
path through a task is ``end + tail - duration``.

The functions are written to be compiled and to run as they are: no slices, no objects but tuples of arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
MASK = 0x7FFFFFFF


class Shop(NamedTuple):
    """What does not change: duration, release, machine, predecessor and successor in the job; by task, [n + 1]."""

    duration: Ints
    release: Ints
    machine: Ints
    before: Ints
    after: Ints


class Order(NamedTuple):
    """One orientation.

    `previous` and `following` on the machine, [n + 1]; a linear order `line` of all tasks with its inverse `rank`, [n];
    `end` and `tail`, [n + 1].
    """

    previous: Ints
    following: Ints
    line: Ints
    rank: Ints
    end: Ints
    tail: Ints


class Memory(NamedTuple):
    """Scratch and what is forbidden.

    `path`, `us`, `vs`, `ways`, `marks` (all 0) and `spare` are scratch; `names` and `partners` draw the slot of a pair;
    `until` is the move up to which a pair may not come back into an order; `dice` [1].
    """

    path: Ints
    us: Ints
    vs: Ints
    ways: Ints
    marks: Ints
    spare: Ints
    names: Ints
    partners: Ints
    until: Ints
    dice: Ints


def roll(dice: Ints, num: int) -> int:
    """Draw from 0 .. num - 1."""
    dice[0] = (dice[0] * 1103515245 + 12345) & MASK
    return int((dice[0] >> 8) % num)


def load(shop: Shop, order: Order, last: Ints, num_machines: int) -> int:
    """Make the orientation of `order.line`; returns its makespan. `last` is scratch, [machines]."""
    num = len(order.line)
    for machine in range(num_machines):
        last[machine] = num
    for rank in range(num):
        task = order.line[rank]
        machine = shop.machine[task]
        order.rank[task] = rank
        order.previous[task], order.following[task] = last[machine], num
        if last[machine] != num:
            order.following[last[machine]] = task
        last[machine] = task
    return weigh(shop, order, 0, num - 1)


def weigh(shop: Shop, order: Order, first: int, last: int) -> int:
    """Recompute ends from rank `first` on and tails from rank `last` back; returns the makespan."""
    end, tail, num = order.end, order.tail, len(order.line)
    for rank in range(first, num):
        task = order.line[rank]
        begin = max(end[shop.before[task]], end[order.previous[task]], shop.release[task])
        end[task] = begin + shop.duration[task]
    for rank in range(last, -1, -1):
        task = order.line[rank]
        tail[task] = max(tail[shop.after[task]], tail[order.following[task]]) + shop.duration[task]
    longest = 0
    for task in range(num):
        if end[task] > longest:
            longest = end[task]
    return longest


def critical(shop: Shop, order: Order, memory: Memory, longest: int) -> int:
    """Write a longest path to the end of `memory.path`, one at random; returns where it begins."""
    num = len(order.line)
    task, ties = num, 0
    for other in range(num):
        if order.end[other] == longest and order.tail[other] == shop.duration[other]:
            ties += 1
            if roll(memory.dice, ties) == 0:
                task = other
    at = num
    while True:
        at -= 1
        memory.path[at] = task
        begin = order.end[task] - shop.duration[task]
        if begin == shop.release[task]:
            return at
        by_job = order.end[shop.before[task]] == begin
        by_machine = order.end[order.previous[task]] == begin
        is_job = by_job and (not by_machine or roll(memory.dice, 2) == 0)
        task = shop.before[task] if is_job else order.previous[task]


def relink(order: Order, u: int, v: int, forward: int) -> None:
    """Change the machine's order."""
    num, outer, then = len(order.line), order.previous[u], order.following[v]
    first = order.following[u] if forward else v
    last = u if forward else order.previous[v]
    order.following[v], order.previous[u] = u, v
    order.previous[first], order.following[last] = outer, then
    if outer != num:
        order.following[outer] = first
    if then != num:
        order.previous[then] = last


def sort_forward(shop: Shop, order: Order, memory: Memory, low: int, high: int, u: int) -> None:
    """Put `u` and what follows from it behind the rest of the ranks from `low` to `high`; its machine is changed."""
    kept, moved, late = low, 1, memory.marks
    late[u] = 1
    memory.spare[0] = u
    for rank in range(low + 1, high + 1):
        task = order.line[rank]
        if late[shop.before[task]] or late[order.previous[task]]:
            late[task] = 1
            memory.spare[moved] = task
            moved += 1
        else:
            order.line[kept] = task
            order.rank[task] = kept
            kept += 1
    for at in range(moved):
        task = memory.spare[at]
        late[task] = 0
        order.line[kept + at] = task
        order.rank[task] = kept + at


def sort_backward(shop: Shop, order: Order, memory: Memory, low: int, high: int, v: int) -> None:
    """Put `v` and what leads to it before the rest of the ranks from `low` to `high`; its machine is changed."""
    kept, moved, soon = high, 1, memory.marks
    soon[v] = 1
    memory.spare[0] = v
    for rank in range(high - 1, low - 1, -1):
        task = order.line[rank]
        if soon[shop.after[task]] or soon[order.following[task]]:
            soon[task] = 1
            memory.spare[moved] = task
            moved += 1
        else:
            order.line[kept] = task
            order.rank[task] = kept
            kept -= 1
    for at in range(moved):
        task = memory.spare[at]
        soon[task] = 0
        order.line[kept - at] = task
        order.rank[task] = kept - at


def move(shop: Shop, order: Order, memory: Memory, u: int, v: int, forward: int) -> int:
    """Make a move; returns the makespan after it."""
    low, high = order.rank[u], order.rank[v]
    relink(order, u, v, forward)
    if forward:
        sort_forward(shop, order, memory, low, high, u)
    else:
        sort_backward(shop, order, memory, low, high, v)
    return weigh(shop, order, low, high)


INNER = (roll, load, weigh, critical, relink, sort_forward, sort_backward, move)
"""What `headway.policies.shop.tabu_kernel` calls."""
