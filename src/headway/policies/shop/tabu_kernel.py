"""The inner loop of tabu search in a job shop: which moves there are, what they are worth, and which is made.

Arrays, moves and words are those of `headway.policies.shop.tabu_graph`.
"""

from __future__ import annotations

import headway.policies.shop.tabu_graph as graph
from headway.policies.shop.tabu_graph import Ints, Memory, Order, Shop, critical, load, move, roll

FAR = 1 << 60
"""Later than anything."""
TABU_SIZE = 1 << 14
N5, N6, N7 = 5, 6, 7
"""Neighbourhoods: swaps at the rims of blocks; moves to the rims; moves to and from the rims."""


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
    *graph.INNER, may_go_after, may_go_before, offer, offer_swaps, offer_inserts, neighbours, forward_worth,
    backward_worth, worth, slot, is_forbidden, forbid, choose, tenure,
)  # fmt: skip
"""What `begin` and `search` call."""
