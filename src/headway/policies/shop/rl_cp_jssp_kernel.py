"""The job shop of shop/rl-cp-jssp, compiled: propagation of earliest starts, what may be chosen, what is seen.

All shops of a batch have a place on the leading axis. Times are integers. Padding is beyond `num_ops`.

The state of a shop: `next_op` and `ready` of each job, `free` of each machine, `est` (earliest start of each job's next
operation by precedence, no-overlap, releases, downtimes and what was put off), `waiting` (put off at an earlier moment
and of no use before something else has run on its machine), `starts`, `now`, `legal` [jobs + 1], the last of which is
the No-Op, and `limit`: when a job that waits would have ended its operation.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

NEVER = 1 << 60
WINDOW = 5
PLACES = 64
COLUMNS = 6
GREEDY, SAMPLE, FOLLOW, SCRIPT = 0, 1, 2, 3
RUNNING, OVER = 0, 1


@njit(cache=True)
def fit(at: int, duration: int, downs: Ints) -> int:
    """Return the first start from `at` on at which nothing is under repair; `downs` [n, 2] is sorted."""
    for k in range(downs.shape[0]):
        if at < downs[k, 1] and at + duration > downs[k, 0]:
            at = downs[k, 1]
    return at


@njit(cache=True)
def earliest(b: int, j: int, shop, state) -> int:  # type: ignore[no-untyped-def]
    """Return the earliest start of a job's next operation."""
    machine, duration, release, num_ops, downs = shop
    k = state[0][b, j]
    if k >= num_ops[b, j]:
        return NEVER
    m = machine[b, j, k]
    at = max(state[1][b, j], state[2][b, m], release[b, j, k])
    return fit(at, duration[b, j, k], downs[b, m])


@njit(cache=True)
def fix(b: int, j: int, shop, state) -> None:  # type: ignore[no-untyped-def]
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
def put_off(b: int, later: int, shop, state) -> None:  # type: ignore[no-untyped-def]
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
def rivals(b: int, later: int, shop, state, room) -> None:  # type: ignore[no-untyped-def]
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
def give_up_waiting(b: int, shop, state, contested: Flags) -> bool:  # type: ignore[no-untyped-def]
    """Let jobs go that waited for what cannot come in time any more; return whether there were any."""
    machine, next_op, waiting = shop[0], state[0], state[4]
    found = False
    for j in range(waiting.shape[1]):
        if waiting[b, j] and not contested[machine[b, j, next_op[b, j]]]:
            waiting[b, j] = False
            found = True
    return found


@njit(cache=True)
def settle(b: int, shop, state, room) -> int:  # type: ignore[no-untyped-def]
    """Go on to the next moment at which there is a choice, taking what is forced; return RUNNING or OVER.

    Forced is an operation that is alone on its machine when waiting for another cannot pay.
    """
    machine = shop[0]
    next_op, _, _, est, waiting, _, now, legal, _ = state
    num, before, contested, endurable = room
    num_jobs = est.shape[1]
    while True:
        legal[b, :] = False
        now[b] = est[b].min()
        if now[b] == NEVER:
            return OVER
        later = following(b, now[b], est)
        rivals(b, later, shop, state, room)
        if give_up_waiting(b, shop, state, contested):
            continue
        num_legal = 0
        forced = -1
        for j in range(num_jobs):
            if est[b, j] == now[b] and not waiting[b, j]:
                m = machine[b, j, next_op[b, j]]
                num_legal += 1
                legal[b, j] = True
                if num[m] == 1 and not contested[m]:
                    forced = j
        may_wait = later < NEVER
        for m in range(num.size):
            may_wait = may_wait and (before[m] < 0 or endurable[m])
        if num_legal == 0:
            if later < NEVER:
                put_off(b, later, shop, state)
            else:
                waiting[b, :] = False
            continue
        if forced < 0 and num_legal == 1 and not may_wait:
            forced = int(np.argmax(legal[b]))
        if forced < 0:
            legal[b, num_jobs] = may_wait
            return RUNNING
        fix(b, forced, shop, state)


@njit(cache=True)
def room_of(num_machines: int):  # type: ignore[no-untyped-def]
    """Return room for `rivals` to write to."""
    return (
        np.zeros(num_machines, np.int64),
        np.zeros(num_machines, np.int64),
        np.zeros(num_machines, np.bool_),
        np.zeros(num_machines, np.bool_),
    )


@njit(cache=True)
def observe(b: int, shop, state, scale: float, rows: Ints, ops, valid, upcoming, place) -> int:  # type: ignore[no-untyped-def]
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
def as_told(b: int, scores: Floats, may: Flags, rows: Ints, num: int, state, targets: Ints) -> int:  # type: ignore[no-untyped-def]
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
def act(b: int, action: int, shop, state, room) -> int:  # type: ignore[no-untyped-def]
    """Take an action, a job or the No-Op (their number), and go on to the next choice; return RUNNING or OVER."""
    est, now = state[3], state[6]
    if action == est.shape[1]:
        put_off(b, following(b, now[b], est), shop, state)
    else:
        fix(b, action, shop, state)
    return settle(b, shop, state, room)


@njit(cache=True)
def settle_all(shop, state, over: Flags) -> None:  # type: ignore[no-untyped-def]
    """Go on to the first choice in every shop that is not over."""
    room = room_of(state[2].shape[1])
    for b in range(over.size):
        if not over[b]:
            over[b] = settle(b, shop, state, room) == OVER


@njit(cache=True)
def observe_all(active: Ints, shop, state, scale: Floats, rows, ops, valid, upcoming, place, num) -> int:  # type: ignore[no-untyped-def]
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
def play_round(  # type: ignore[no-untyped-def]
    active, shop, state, over, scores, rows, num, mode, uniforms, targets, script, told, most_told, kept
):
    """Choose in every active shop until what was seen does not hold any more: the No-Op, a later moment, a new candidate.

    `scores` [active, rows + 1]: the No-Op's is the last. `uniforms` [active, rows + 1]: one for each choice.
    `script` [shops, choices] and `told` [shops]: actions to repeat and how many choices were made; no more than
    `most_told`. `kept`: (which active shop, action as a row, legal rows) of each choice, written from 0 on. Returns
    how many were kept.
    """
    num_jobs = state[3].shape[1]
    room = room_of(state[2].shape[1])
    now, legal = state[6], state[7]
    width = scores.shape[1]
    kept_shop, kept_action, kept_legal = kept
    kept_num = 0
    may = np.zeros(width, np.bool_)
    seen = np.zeros(num_jobs + 1, np.bool_)
    for i in range(active.size):
        b = active[i]
        seen[:] = legal[b]
        seen[num_jobs] = True
        moment = now[b]
        own = np.empty(num[i] + 1, np.float64)
        own[: num[i]] = scores[i, : num[i]]
        own[num[i]] = scores[i, width - 1]
        choice = 0
        while told[b] < most_told:
            n = num[i]
            may[:] = False
            for r in range(n):
                may[r] = legal[b, rows[i, r]]
            may[n] = legal[b, num_jobs]
            if mode == FOLLOW:
                chosen = as_told(b, own, may[: n + 1], rows[i], n, state, targets)
            elif mode == SCRIPT:
                chosen = n
                for r in range(n):
                    if rows[i, r] == script[b, told[b]]:
                        chosen = r
            else:
                chosen = pick(own, may[: n + 1], uniforms[i, choice] if mode == SAMPLE else -1.0)
            action = num_jobs if chosen == n else rows[i, chosen]
            if kept_num < kept_shop.size:
                kept_shop[kept_num] = i
                kept_action[kept_num] = width - 1 if chosen == n else chosen
                kept_legal[kept_num, :] = False
                kept_legal[kept_num, :n] = may[:n]
                kept_legal[kept_num, width - 1] = may[n]
                kept_num += 1
            script[b, told[b]] = action
            told[b] += 1
            choice += 1
            over[b] = act(b, action, shop, state, room) == OVER
            if over[b] or action == num_jobs or now[b] != moment:
                break
            is_known = True
            for j in range(num_jobs):
                if legal[b, j] and not seen[j]:
                    is_known = False
            if not is_known:
                break
    return kept_num


@njit(cache=True)
def left_shift(machine: Ints, duration: Ints, release: Ints, num_ops: Ints, downs: Ints, starts: Ints) -> Ints:
    """Move every operation of one shop [jobs, ops] as early as gaps allow, in the order of their starts: an active one."""
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
