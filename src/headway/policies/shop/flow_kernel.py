"""Orders of a permutation flow shop on plain arrays: where to put a job, and which jobs to put anew.

`time` is [jobs * machines], `order` [jobs] of which the first `num` count. Written to be compiled and to run as it is.

Source: E. Taillard, "Some efficient heuristic methods for the flow shop sequencing problem", 1990: with the ends of
tasks from the front and from the back, the makespan of every place for a job takes O(jobs * machines) together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
FAR = 1 << 60
MASK = 0x7FFFFFFF


class Scratch(NamedTuple):
    """Ends from the front and from the back, [(jobs + 2) * machines]; one row, [machines]; dice [1]; jobs, [jobs]."""

    front: Ints
    back: Ints
    row: Ints
    dice: Ints
    out: Ints
    kept: Ints


def draw(dice: Ints, num: int) -> int:
    """Draw from 0 .. num - 1."""
    dice[0] = (dice[0] * 1103515245 + 12345) & MASK
    return int((dice[0] >> 8) % num)


def length(time: Ints, num_machines: int, order: Ints, num: int, row: Ints) -> int:
    """Return the makespan of an order."""
    for machine in range(num_machines):
        row[machine] = 0
    for place in range(num):
        base, last = order[place] * num_machines, 0
        for machine in range(num_machines):
            last = max(last, row[machine]) + time[base + machine]
            row[machine] = last
    return int(row[num_machines - 1])


def fill(time: Ints, num_machines: int, order: Ints, num: int, scratch: Scratch) -> None:
    """Compute the ends from the front (row p: of the job at place p - 1) and from the back (row p: at place p)."""
    front, back = scratch.front, scratch.back
    for machine in range(num_machines):
        front[machine], back[num * num_machines + machine] = 0, 0
    for place in range(num):
        base, last, at = order[place] * num_machines, 0, (place + 1) * num_machines
        for machine in range(num_machines):
            last = max(last, front[at - num_machines + machine]) + time[base + machine]
            front[at + machine] = last
    for place in range(num - 1, -1, -1):
        base, last, at = order[place] * num_machines, 0, place * num_machines
        for machine in range(num_machines - 1, -1, -1):
            last = max(last, back[at + num_machines + machine]) + time[base + machine]
            back[at + machine] = last


def insert(time: Ints, num_machines: int, order: Ints, num: int, job: int, scratch: Scratch) -> int:
    """Put a job where the makespan is least, at the first such place; returns the makespan."""
    fill(time, num_machines, order, num, scratch)
    best, found, base = FAR, 0, job * num_machines
    for place in range(num + 1):
        last, longest, at = 0, 0, place * num_machines
        for machine in range(num_machines):
            last = max(last, scratch.front[at + machine]) + time[base + machine]
            longest = max(longest, last + scratch.back[at + machine])
        if longest < best:
            best, found = longest, place
    for place in range(num, found, -1):
        order[place] = order[place - 1]
    order[found] = job
    return int(best)


def neh(time: Ints, num_machines: int, ranked: Ints, order: Ints, scratch: Scratch) -> int:
    """Put in all jobs in the order of `ranked`; returns the makespan."""
    best = 0
    for num in range(len(ranked)):
        best = insert(time, num_machines, order, num, ranked[num], scratch)
    return best


def remove(order: Ints, num: int, place: int) -> int:
    """Take out the job at a place; returns it."""
    job = order[place]
    for at in range(place, num - 1):
        order[at] = order[at + 1]
    return int(job)


def descend(time: Ints, num_machines: int, order: Ints, now: int, scratch: Scratch) -> int:
    """Take each job out and put it back at its best place, until none gains; returns the makespan."""
    num, gained = len(order), True
    while gained:
        gained = False
        for at in range(num):
            scratch.kept[at] = order[at]
        for at in range(num - 1, 0, -1):
            other = draw(scratch.dice, at + 1)
            scratch.kept[at], scratch.kept[other] = scratch.kept[other], scratch.kept[at]
        for at in range(num):
            place = 0
            while order[place] != scratch.kept[at]:
                place += 1
            remove(order, num, place)
            made = insert(time, num_machines, order, num - 1, scratch.kept[at], scratch)
            if made < now:
                now, gained = made, True
    return now


def shake(time: Ints, num_machines: int, order: Ints, num_out: int, scratch: Scratch) -> int:
    """Take out some jobs at random and put each back at its best place; returns the makespan."""
    num = len(order)
    for at in range(num_out):
        scratch.out[at] = remove(order, num - at, draw(scratch.dice, num - at))
    best = 0
    for at in range(num_out):
        best = insert(time, num_machines, order, num - num_out + at, scratch.out[at], scratch)
    return best


def greedy(
    time: Ints,
    num_machines: int,
    order: Ints,
    best_order: Ints,
    state: Ints,
    num_out: int,
    heat: float,
    bound: int,
    rounds: int,
    scratch: Scratch,
) -> None:
    """Run rounds of iterated greedy. `state` is (makespan now, best, rounds so far); `order` holds the present order.

    `scratch.front` has room for the order before each round behind its own numbers.
    """
    num = len(order)
    keep = (num + 2) * num_machines
    for _ in range(rounds):
        if state[1] <= bound:
            return
        for at in range(num):
            scratch.front[keep + at] = order[at]
        made = shake(time, num_machines, order, num_out, scratch)
        made = descend(time, num_machines, order, made, scratch)
        state[2] += 1
        if made < state[1]:
            state[1] = made
            for at in range(num):
                best_order[at] = order[at]
        luck = (draw(scratch.dice, 1 << 20) + 0.5) / (1 << 20)
        if made <= state[0] or (heat > 0 and luck < math.exp(-(made - state[0]) / heat)):
            state[0] = made
        else:
            for at in range(num):
                order[at] = scratch.front[keep + at]


INNER = (draw, length, fill, insert, remove, descend, shake)
"""What `neh` and `greedy` call."""
