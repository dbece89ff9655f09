"""The inner loop of tabu search in a job shop, on plain arrays: one orientation of all machines, moved step by step.

Tasks are numbered 0 .. n - 1; n stands for "none" and has no duration. A move takes task `u` right after task `v` of
its machine (`forward`), or `v` right before `u`; in between, the machine runs ``u, ..., v``.

Heads here are the ends of tasks (head plus duration) and tails include the task's own duration, so that the longest
path through a task is ``end + tail - duration``.

The functions are written to be compiled and run as they are, too: no slices, no objects but tuples of arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
FAR = 1 << 60
"""Later than anything."""
MASK = 0x7FFFFFFF
TABU_SIZE = 1 << 14
N5, N6, N7 = 5, 6, 7
"""Neighbourhoods: swaps at the rims of blocks; moves to the rims; moves to and from the rims."""


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


def may_go_after(shop: Shop, order: Order, u: int, v: int) -> bool:
    """Whether `u` right after `v` makes no circle: no path leads from the job successor of `u` to `v`."""
    then = shop.after[u]
    return bool(then == len(order.line) or (then != v and order.tail[then] < order.tail[v] + shop.duration[then]))


def may_go_before(shop: Shop, order: Order, u: int, v: int) -> bool:
    """Whether `v` right before `u` makes no circle: no path leads from `u` to the job predecessor of `v`."""
    first = shop.before[v]
    return bool(first == len(order.line) or (first != u and order.end[first] < order.end[u] + shop.duration[first]))


def offer(shop: Shop, order: Order, memory: Memory, count: int, u: int, v: int, forward: int) -> int:
    """Add a move, where it is safe; returns how many there are."""
    if count == len(memory.us):
        return count
    fine = may_go_after(shop, order, u, v) if forward else may_go_before(shop, order, u, v)
    if fine:
        memory.us[count], memory.vs[count], memory.ways[count] = u, v, forward
        count += 1
    return count


def offer_swaps(shop: Shop, order: Order, memory: Memory, count: int, a: int, b: int, front: int, back: int) -> int:
    """Add the swaps at the rims of the block from `a` to `b` of the path."""
    path = memory.path
    if back:
        count = offer(shop, order, memory, count, path[b - 1], path[b], 1)
    if front and (b > a + 1 or not back):
        count = offer(shop, order, memory, count, path[a], path[a + 1], 1)
    return count


def offer_inserts(
    shop: Shop, order: Order, memory: Memory, count: int, a: int, b: int, front: int, back: int, rims: int
) -> int:
    """Add the moves to the rims of the block, and from its rims inwards where `rims`."""
    path = memory.path
    for at in range(a, b):
        if back:
            count = offer(shop, order, memory, count, path[at], path[b], 1)
        if rims and a < at:
            count = offer(shop, order, memory, count, path[a], path[at], 1)
    for at in range(a + 1, b + 1):
        if front and not (back and b == a + 1):
            count = offer(shop, order, memory, count, path[a], path[at], 0)
        if rims and at < b:
            count = offer(shop, order, memory, count, path[at], path[b], 0)
    return count


def neighbours(shop: Shop, order: Order, memory: Memory, begin: int, kind: int) -> int:
    """Write the moves of a neighbourhood around the path that starts at `begin`; returns how many."""
    path, num, count, a = memory.path, len(order.line), 0, begin
    while a < num:
        b = a
        while b + 1 < num and order.previous[path[b + 1]] == path[b]:
            b += 1
        if b > a:
            front = 1 if a > begin or shop.release[path[a]] > 0 else 0
            back = 1 if b + 1 < num else 0
            if kind == N5:
                count = offer_swaps(shop, order, memory, count, a, b, front, back)
            else:
                count = offer_inserts(shop, order, memory, count, a, b, front, back, kind - N6)
        a = b + 1
    return count


def forward_worth(shop: Shop, order: Order, spare: Ints, u: int, v: int) -> int:
    """Estimate the longest path through the moved tasks when `u` goes right after `v`."""
    last, task, at = order.end[order.previous[u]], order.following[u], 0
    while True:
        spare[at] = max(last, order.end[shop.before[task]], shop.release[task])
        last = spare[at] + shop.duration[task]
        if task == v:
            break
        at += 1
        task = order.following[task]
    head = max(last, order.end[shop.before[u]], shop.release[u])
    tail = max(order.tail[shop.after[u]], order.tail[order.following[v]]) + shop.duration[u]
    worst = head + tail
    while at >= 0:
        tail = max(order.tail[shop.after[task]], tail) + shop.duration[task]
        worst = max(worst, spare[at] + tail)
        task = order.previous[task]
        at -= 1
    return int(worst)


def backward_worth(shop: Shop, order: Order, spare: Ints, u: int, v: int) -> int:
    """Estimate the longest path through the moved tasks when `v` goes right before `u`."""
    tail, task, at = order.tail[order.following[v]], order.previous[v], 0
    while True:
        tail = max(tail, order.tail[shop.after[task]]) + shop.duration[task]
        spare[at] = tail
        if task == u:
            break
        at += 1
        task = order.previous[task]
    head = max(order.end[order.previous[u]], order.end[shop.before[v]], shop.release[v])
    worst = head + max(tail, order.tail[shop.after[v]]) + shop.duration[v]
    last = head + shop.duration[v]
    while at >= 0:
        head = max(last, order.end[shop.before[task]], shop.release[task])
        last = head + shop.duration[task]
        worst = max(worst, head + spare[at])
        task = order.following[task]
        at -= 1
    return int(worst)


def worth(shop: Shop, order: Order, spare: Ints, u: int, v: int, forward: int) -> int:
    """Estimate the makespan after a move (Balas and Vazacopoulos); exact for paths through swapped neighbours."""
    return forward_worth(shop, order, spare, u, v) if forward else backward_worth(shop, order, spare, u, v)


def slot(memory: Memory, first: int, second: int) -> int:
    """Return where the memory keeps until when `first` may not come before `second` again."""
    return int((memory.names[first] * memory.partners[second]) & (TABU_SIZE - 1))


def is_forbidden(order: Order, memory: Memory, u: int, v: int, forward: int, step: int) -> bool:
    """Whether a move would bring two tasks back into an order that they have left lately."""
    task = u
    while True:
        if forward:
            if task != u and memory.until[slot(memory, task, u)] > step:
                return True
        elif task != v and memory.until[slot(memory, v, task)] > step:
            return True
        if task == v:
            return False
        task = order.following[task]


def forbid(order: Order, memory: Memory, u: int, v: int, forward: int, until: int) -> None:
    """Remember the orders that a move is about to end."""
    task = u
    while True:
        if forward:
            if task != u:
                memory.until[slot(memory, u, task)] = until
        elif task != v:
            memory.until[slot(memory, task, v)] = until
        if task == v:
            return
        task = order.following[task]


def choose(shop: Shop, order: Order, memory: Memory, count: int, step: int, best: int) -> int:
    """Return the best move that is allowed, or better than all so far; any where none is."""
    found, least, ties = -1, FAR, 0
    for at in range(count):
        u, v, forward = memory.us[at], memory.vs[at], memory.ways[at]
        cost = worth(shop, order, memory.spare, u, v, forward)
        if cost > least:
            continue
        if cost >= best and is_forbidden(order, memory, u, v, forward, step):
            continue
        ties = 1 if cost < least else ties + 1
        if cost < least or roll(memory.dice, ties) == 0:
            found, least = at, cost
    return found if found >= 0 else roll(memory.dice, count)


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


def tenure(memory: Memory, num_jobs: int, num_machines: int) -> int:
    """Draw for how many steps a sequence may not come back: 10 + jobs / machines, up to 1.4 or 1.5 times that."""
    least = 10 + num_jobs // num_machines
    most = (least * 14) // 10 if num_jobs <= 2 * num_machines else (least * 3) // 2
    return least + roll(memory.dice, most - least + 1)


def begin(shop: Shop, order: Order, memory: Memory, best_line: Ints, run: Ints, num_machines: int) -> None:
    """Begin a search from `order.line`; `run` is (makespan now, best, moves since the best, moves), [4]."""
    run[0] = load(shop, order, memory.spare, num_machines)
    run[1], run[2], run[3] = run[0], 0, 0
    for rank in range(len(order.line)):
        memory.marks[order.line[rank]] = 0
        best_line[rank] = order.line[rank]
    for at in range(TABU_SIZE):
        memory.until[at] = 0


def search(
    shop: Shop,
    order: Order,
    memory: Memory,
    best_line: Ints,
    run: Ints,
    sizes: tuple[int, int],
    kind: int,
    bound: int,
    patience: int,
    num_moves: int,
) -> bool:
    """Go on with a search for so many moves; the best line goes to `best_line`. `sizes` is (jobs, machines).

    Returns whether it has ended: at the bound, with its patience, or because no move is left.
    """
    for _ in range(num_moves):
        if run[1] <= bound or run[2] >= patience:
            return True
        count = neighbours(shop, order, memory, critical(shop, order, memory, run[0]), kind)
        if count == 0:
            return True
        at = choose(shop, order, memory, count, run[3], run[1])
        u, v, forward = memory.us[at], memory.vs[at], memory.ways[at]
        forbid(order, memory, u, v, forward, run[3] + tenure(memory, sizes[0], sizes[1]))
        run[0] = move(shop, order, memory, u, v, forward)
        run[2], run[3] = run[2] + 1, run[3] + 1
        if run[0] < run[1]:
            run[1], run[2] = run[0], 0
            for rank in range(len(order.line)):
                best_line[rank] = order.line[rank]
    return bool(run[1] <= bound or run[2] >= patience)


INNER = (
    roll, load, weigh, critical, may_go_after, may_go_before, offer, offer_swaps, offer_inserts, neighbours,
    forward_worth, backward_worth, worth, slot, is_forbidden, forbid, choose, relink, sort_forward, sort_backward,
    move, tenure,
)  # fmt: skip
"""What `begin` and `search` call."""
