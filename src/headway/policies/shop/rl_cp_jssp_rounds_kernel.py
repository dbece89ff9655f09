"""The job shop of shop/rl-cp-jssp, compiled: what the network sees, and rounds of choices. See `rl_cp_jssp_kernel`."""

# numba has no types, and state goes around as a tuple of arrays
# mypy: allow-untyped-decorators, allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, no-warn-return-any

from __future__ import annotations

import numpy as np

from headway.numerics.jit import njit
from headway.policies.shop.rl_cp_jssp_kernel import OVER, Flags, Floats, Ints, act, room_of

WINDOW = 5
PLACES = 64
COLUMNS = 6
GREEDY, SAMPLE, FOLLOW, SCRIPT = 0, 1, 2, 3


@njit(cache=True)
def observe(b: int, shop, state, scale: float, rows: Ints, ops, valid, upcoming, place) -> int:
    """Write what the network sees of one shop, and return how many jobs that is: the legal ones and their rivals.

    `rows` [jobs] are their numbers; `ops` [rows, WINDOW, COLUMNS]; `valid` and `place` [rows, WINDOW]: whether there is
    such an operation, and how many of its job come after it; `upcoming` [rows, 2]: which of the window is the
    job's next operation, and its machine.
    """
    machine, duration, release, num_ops, _ = shop
    next_op, _, free, est, _, starts, now, legal, _ = state
    num_jobs, num_machines = est.shape[1], free.shape[1]
    wanted = np.zeros(num_machines, np.bool_)
    load = np.zeros(num_machines, np.int64)
    tails = np.zeros(num_jobs, np.int64)
    for j in range(num_jobs):
        if legal[b, j]:
            wanted[machine[b, j, next_op[b, j]]] = True
        for k in range(next_op[b, j], num_ops[b, j]):
            load[machine[b, j, k]] += duration[b, j, k]
            tails[j] += duration[b, j, k]
    longest, heaviest = max(1, tails.max()), max(1, load.max())
    num = 0
    for j in range(num_jobs):
        if next_op[b, j] >= num_ops[b, j] or not wanted[machine[b, j, next_op[b, j]]]:
            continue
        rows[num] = j
        first = next_op[b, j]
        if first > 0 and starts[b, j, first - 1] + duration[b, j, first - 1] > now[b]:
            first -= 1
        upcoming[num, 0], upcoming[num, 1] = next_op[b, j] - first, machine[b, j, next_op[b, j]]
        head, tail = est[b, j], tails[j]
        for w in range(WINDOW):
            k = first + w
            valid[num, w] = k < num_ops[b, j]
            place[num, w] = 0
            ops[num, w, :] = 0.0
            if not valid[num, w]:
                continue
            place[num, w] = min(num_ops[b, j] - 1 - k, PLACES - 1)
            long = duration[b, j, k]
            ops[num, w, 1] = long / scale
            if k < next_op[b, j]:
                ops[num, w, 0] = 1.0
                ops[num, w, 2] = (starts[b, j, k] - now[b]) / scale
                ops[num, w, 4] = tail / longest
                continue
            m = machine[b, j, k]
            head = max(head, free[b, m], release[b, j, k])
            ops[num, w, 2] = (head - now[b]) / scale
            ops[num, w, 3] = 1.0 if k == next_op[b, j] and legal[b, j] else 0.0
            ops[num, w, 4] = tail / longest
            ops[num, w, 5] = load[m] / heaviest
            head += long
            tail -= long
        num += 1
    return num


@njit(cache=True)
def pick(scores: Floats, may: Flags, uniform: float) -> int:
    """Choose: the best score when `uniform` < 0, otherwise by the softmax over what is legal."""
    best = -1
    for a in range(may.size):
        if may[a] and (best < 0 or np.round(scores[a], 9) > np.round(scores[best], 9)):
            best = a
    if uniform < 0.0:
        return best
    total = 0.0
    for a in range(may.size):
        if may[a]:
            total += np.exp(scores[a] - scores[best])
    left = uniform * total
    chosen = best
    for a in range(may.size):
        if may[a]:
            chosen = a
            left -= np.exp(scores[a] - scores[best])
            if left <= 0.0:
                break
    return chosen


@njit(cache=True)
def as_told(b: int, scores: Floats, may: Flags, rows: Ints, num: int, state, targets: Ints) -> int:
    """Choose as a schedule does: an operation that it starts now (the best-scored), or else the No-Op."""
    next_op, now = state[0], state[6]
    best, soonest = -1, -1
    for r in range(num):
        if not may[r]:
            continue
        at = targets[b, rows[r], next_op[b, rows[r]]]
        if at <= now[b] and (best < 0 or scores[r] > scores[best]):
            best = r
        if soonest < 0 or at < targets[b, rows[soonest], next_op[b, rows[soonest]]]:
            soonest = r
    if best >= 0:
        return best
    return num if may[num] else soonest


@njit(cache=True)
def observe_all(active: Ints, shop, state, scale: Floats, rows, ops, valid, upcoming, place, num) -> int:
    """Write what is seen of every active shop; return the largest number of rows."""
    most = 0
    for i in range(active.size):
        b = active[i]
        upcoming[i, :, 0], upcoming[i, :, 1] = 0, -1
        valid[i] = False
        num[i] = observe(b, shop, state, scale[b], rows[i], ops[i], valid[i], upcoming[i], place[i])
        most = max(most, num[i])
    return most


@njit(cache=True)
def may_choose(b: int, rows: Ints, num: int, state, may: Flags) -> None:
    """Write which rows are legal; the No-Op comes after them."""
    legal = state[7]
    may[:] = False
    for r in range(num):
        may[r] = legal[b, rows[r]]
    may[num] = legal[b, legal.shape[1] - 1]


@njit(cache=True)
def scripted(rows: Ints, num: int, action: int) -> int:
    """Return the row of an action."""
    for r in range(num):
        if rows[r] == action:
            return r
    return num


@njit(cache=True)
def keep(kept, at: int, i: int, chosen: int, may: Flags, num: int) -> int:
    """Keep a choice, if there is room for it; return where the next one goes."""
    shop, action, legal = kept
    if at == shop.size:
        return at
    last = legal.shape[1] - 1
    shop[at], action[at] = i, last if chosen == num else chosen
    legal[at, :] = False
    legal[at, :num] = may[:num]
    legal[at, last] = may[num]
    return at + 1


@njit(cache=True)
def play_round(active, shop, state, over, scores, rows, num, mode, uniforms, targets, script, told, most_told, kept):
    """Choose in every active shop until what was seen does not hold any more.

    That is after the No-Op, at a later moment, or when there is a candidate that was none before. What was seen is not
    renewed between the choices of a round: they are drawn from the same scores, without those that are gone.

    `scores` [active, rows + 1]: the No-Op's is the last. `uniforms` [active, rows + 1]: one for each choice.
    `script` [shops, choices] and `told` [shops]: actions to repeat and how many choices were made; no more than
    `most_told`. `kept`: (which active shop, action as a row, legal rows) of each choice, written from 0 on. Returns
    how many were kept.
    """
    num_jobs, width = state[3].shape[1], scores.shape[1]
    room = room_of(state[2].shape[1])
    now, legal = state[6], state[7]
    count = 0
    may, seen = np.zeros(width, np.bool_), np.zeros(num_jobs, np.bool_)
    for i in range(active.size):
        b, n = active[i], num[i]
        seen[:] = legal[b, :num_jobs]
        moment = now[b]
        own = np.append(scores[i, :n], scores[i, width - 1])
        choice = 0
        while told[b] < most_told:
            may_choose(b, rows[i], n, state, may)
            if mode == FOLLOW:
                chosen = as_told(b, own, may[: n + 1], rows[i], n, state, targets)
            elif mode == SCRIPT:
                chosen = scripted(rows[i], n, script[b, told[b]])
            else:
                chosen = pick(own, may[: n + 1], uniforms[i, choice] if mode == SAMPLE else -1.0)
            action = num_jobs if chosen == n else rows[i, chosen]
            count = keep(kept, count, i, chosen, may, n)
            script[b, told[b]] = action
            told[b] += 1
            choice += 1
            over[b] = act(b, action, shop, state, room) == OVER
            if over[b] or action == num_jobs or now[b] != moment or np.any(legal[b, :num_jobs] & ~seen):
                break
    return count
