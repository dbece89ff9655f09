"""The job shop of shop/rl-cp-jssp, compiled: propagation of earliest starts, what may be chosen, what is seen.

All shops of a batch have a place on the leading axis. Times are integers. Padding is beyond `num_ops`.

The state of a shop: `next_op` and `ready` of each job, `free` of each machine, `est` (earliest start of each job's next
operation by precedence, no-overlap, releases, downtimes and what was put off), `waiting` (put off at an earlier moment
and of no use before something else has run on its machine), `starts`, `now`, `legal` [jobs + 1], the last of which is
the No-Op, and `limit`: when a job that waits would have ended its operation.
"""

# numba has no types, and state goes around as a tuple of arrays
# mypy: allow-untyped-decorators, allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-return-any

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.numerics.jit import njit

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

NEVER = 1 << 60
RUNNING, OVER = 0, 1


@njit(cache=True)
def fit(at: int, duration: int, downs: Ints) -> int:
    """Return the first start from `at` on at which nothing is under repair; `downs` [n, 2] is sorted."""
    for k in range(downs.shape[0]):
        if at < downs[k, 1] and at + duration > downs[k, 0]:
            at = downs[k, 1]
    return at


@njit(cache=True)
def earliest(b: int, j: int, shop, state) -> int:
    """Return the earliest start of a job's next operation."""
    machine, duration, release, num_ops, downs = shop
    k = state[0][b, j]
    if k >= num_ops[b, j]:
        return NEVER
    m = machine[b, j, k]
    at = max(state[1][b, j], state[2][b, m], release[b, j, k])
    return fit(at, duration[b, j, k], downs[b, m])


@njit(cache=True)
def fix(b: int, j: int, shop, state) -> None:
    """Start the next operation of a job at its earliest start, and propagate."""
    machine, duration, _, num_ops, _ = shop
    next_op, ready, free, est, waiting, starts, _, _, _ = state
    k = next_op[b, j]
    m, end = machine[b, j, k], est[b, j] + duration[b, j, k]
    starts[b, j, k] = est[b, j]
    next_op[b, j], ready[b, j], free[b, m] = k + 1, end, end
    waiting[b, j] = False
    est[b, j] = earliest(b, j, shop, state)
    for i in range(num_ops.shape[1]):
        if i != j and next_op[b, i] < num_ops[b, i] and machine[b, i, next_op[b, i]] == m:
            waiting[b, i] = False
            est[b, i] = max(est[b, i], earliest(b, i, shop, state))


@njit(cache=True)
def following(b: int, now: int, est: Ints) -> int:
    """Return the next distinct earliest start; NEVER when there is none."""
    found = NEVER
    for j in range(est.shape[1]):
        if now < est[b, j] < found:
            found = est[b, j]
    return found


@njit(cache=True)
def put_off(b: int, later: int, shop, state) -> None:
    """Do as the No-Op says: nothing that could start now starts before the next distinct earliest start."""
    machine, duration, _, _, downs = shop
    next_op, _, _, est, waiting, _, now, _, limit = state
    for j in range(est.shape[1]):
        if est[b, j] == now[b]:
            k = next_op[b, j]
            if not waiting[b, j]:
                waiting[b, j] = True
                limit[b, j] = now[b] + duration[b, j, k]
            est[b, j] = fit(later, duration[b, j, k], downs[b, machine[b, j, k]])


@njit(cache=True)
def rivals(b: int, later: int, shop, state, room) -> None:
    """Say of each machine how many candidates it has, and whether waiting for another operation could pay.

    It could when an operation of another job can begin there before the shortest of those that wait, from when they
    could first have started, would be over: otherwise it fits into the wait, and the schedule would not be active.
    `contested` says so of what can start as things are, `endurable` of what can start once the No-Op has been taken.
    """
    machine, duration, release, num_ops, _ = shop
    next_op, _, free, est, waiting, _, now, _, limit = state
    num, before, contested, endurable = room
    num[:] = 0
    before[:] = -1
    contested[:] = False
    endurable[:] = False
    last = -1
    for j in range(est.shape[1]):
        if waiting[b, j] or est[b, j] == now[b]:
            k = next_op[b, j]
            m = machine[b, j, k]
            end = limit[b, j] if waiting[b, j] else now[b] + duration[b, j, k]
            before[m] = end if before[m] < 0 else min(before[m], end)
            num[m] += 0 if waiting[b, j] else 1
    for m in range(num.size):
        last = max(last, before[m])
    for j in range(est.shape[1]):
        head = est[b, j]
        after = later if head == now[b] else head
        for k in range(next_op[b, j], num_ops[b, j]):
            m = machine[b, j, k]
            head = max(head, free[b, m], release[b, j, k])
            after = max(after, head)
            if head >= last:
                break
            if k > next_op[b, j] or not (waiting[b, j] or est[b, j] == now[b]):
                contested[m] = contested[m] or head < before[m]
                endurable[m] = endurable[m] or after < before[m]
            head += duration[b, j, k]
            after += duration[b, j, k]


@njit(cache=True)
def give_up_waiting(b: int, shop, state, contested: Flags) -> bool:
    """Let jobs go that waited for what cannot come in time any more; return whether there were any."""
    machine, next_op, waiting = shop[0], state[0], state[4]
    found = False
    for j in range(waiting.shape[1]):
        if waiting[b, j] and not contested[machine[b, j, next_op[b, j]]]:
            waiting[b, j] = False
            found = True
    return found


@njit(cache=True)
def candidates(b: int, shop, state, room) -> tuple[int, int]:
    """Write which jobs are legal now; return how many, and one that is forced or -1.

    Forced is an operation that is alone on its machine when waiting for another cannot pay.
    """
    machine = shop[0]
    next_op, _, _, est, waiting, _, now, legal, _ = state
    num, _, contested, _ = room
    num_legal, forced = 0, -1
    legal[b, :] = False
    for j in range(est.shape[1]):
        if est[b, j] == now[b] and not waiting[b, j]:
            m = machine[b, j, next_op[b, j]]
            num_legal += 1
            legal[b, j] = True
            if num[m] == 1 and not contested[m]:
                forced = j
    return num_legal, forced


@njit(cache=True)
def settle(b: int, shop, state, room) -> int:
    """Go on to the next moment at which there is a choice, taking what is forced; return RUNNING or OVER."""
    _, _, _, est, waiting, _, now, legal, _ = state
    _, before, contested, endurable = room
    while True:
        now[b] = est[b].min()
        if now[b] == NEVER:
            legal[b, :] = False
            return OVER
        later = following(b, now[b], est)
        rivals(b, later, shop, state, room)
        if give_up_waiting(b, shop, state, contested):
            continue
        num_legal, forced = candidates(b, shop, state, room)
        may_wait = later < NEVER and bool(np.all(endurable | (before < 0)))
        if num_legal == 0 and later < NEVER:
            put_off(b, later, shop, state)
        elif num_legal == 0:
            waiting[b, :] = False
        elif forced >= 0 or (num_legal == 1 and not may_wait):
            fix(b, forced if forced >= 0 else int(np.argmax(legal[b])), shop, state)
        else:
            legal[b, est.shape[1]] = may_wait
            return RUNNING


@njit(cache=True)
def room_of(num_machines: int):
    """Return room for `rivals` to write to."""
    return (
        np.zeros(num_machines, np.int64),
        np.zeros(num_machines, np.int64),
        np.zeros(num_machines, np.bool_),
        np.zeros(num_machines, np.bool_),
    )


@njit(cache=True)
def act(b: int, action: int, shop, state, room) -> int:
    """Take an action, a job or the No-Op (their number), and go on to the next choice; return RUNNING or OVER."""
    est, now = state[3], state[6]
    if action == est.shape[1]:
        put_off(b, following(b, now[b], est), shop, state)
    else:
        fix(b, action, shop, state)
    return settle(b, shop, state, room)


@njit(cache=True)
def settle_all(shop, state, over: Flags) -> None:
    """Go on to the first choice in every shop that is not over."""
    room = room_of(state[2].shape[1])
    for b in range(over.size):
        if not over[b]:
            over[b] = settle(b, shop, state, room) == OVER


@njit(cache=True)
def left_shift(machine: Ints, duration: Ints, release: Ints, num_ops: Ints, downs: Ints, starts: Ints) -> Ints:
    """Return the starts [jobs, ops] of one shop with each operation, in the order of starts, as early as gaps allow."""
    num_jobs, num_machines = num_ops.size, machine.max() + 1
    most = 0
    for j in range(num_jobs):
        most += num_ops[j]
    keys, who = np.empty(most, np.int64), np.empty((most, 2), np.int64)
    n = 0
    for j in range(num_jobs):
        for k in range(num_ops[j]):
            keys[n] = starts[j, k] * 2 + (1 if duration[j, k] else 0)
            who[n] = j, k
            n += 1
    order = np.argsort(keys, kind="mergesort")
    busy = np.zeros((num_machines, most + 1, 2), np.int64)
    held = np.zeros(num_machines, np.int64)
    found = starts.copy()
    for i in order:
        j, k = who[i, 0], who[i, 1]
        m, long = machine[j, k], duration[j, k]
        at = max(release[j, k], found[j, k - 1] + duration[j, k - 1] if k else 0)
        at = fit(at, long, downs[m])
        p = 0
        while p < held[m] and at + long > busy[m, p, 0]:
            at = fit(max(at, busy[m, p, 1]), long, downs[m])
            p += 1
        for q in range(held[m], p, -1):
            busy[m, q] = busy[m, q - 1]
        busy[m, p] = at, at + long
        held[m] += 1
        found[j, k] = at
    return found
