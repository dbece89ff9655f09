"""Serial schedule generation on plain arrays: each task in turn gets the soonest place that its resources leave it.

What is free is kept as steps: from `times[i]` to `times[i + 1]`, `free[i * resources + r]` of resource r. The last step
never ends. Written to be compiled and to run as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
FAR = 1 << 60


class Work(NamedTuple):
    """Tasks, modes and precedence as rows of flat arrays.

    Modes of task t are ``first_mode[t] .. first_mode[t + 1] - 1``, with `duration` and ``need[mode * resources + r]``;
    tasks before it are ``before[first_before[t] ..]``. A task with `fixed` >= 0 starts then.
    """

    first_mode: Ints
    duration: Ints
    need: Ints
    first_before: Ints
    before: Ints
    release: Ints
    fixed: Ints


class Room(NamedTuple):
    """Steps of what is free: `times` and `free`; `used` [1] says how many there are."""

    times: Ints
    free: Ints
    used: Ints


def step_at(room: Room, at: int) -> int:
    """Return the last step that begins at a time or before it."""
    low, high = 0, room.used[0] - 1
    while low < high:
        middle = (low + high + 1) // 2
        if room.times[middle] <= at:
            low = middle
        else:
            high = middle - 1
    return int(low)


def soonest(work: Work, room: Room, num_resources: int, mode: int, at: int) -> int:
    """Return when a mode can start, at a time or after it."""
    length = work.duration[mode]
    if length == 0:
        return at
    base = mode * num_resources
    step = step_at(room, at)
    while step < room.used[0] and room.times[step] < at + length:
        fits = True
        for resource in range(num_resources):
            need = work.need[base + resource]
            if need > 0 and room.free[step * num_resources + resource] < need:
                fits = False
                break
        step += 1
        if not fits:
            if step == room.used[0]:
                return FAR
            at = room.times[step]
    return at


def cut(room: Room, num_resources: int, at: int) -> int:
    """Make a step begin at a time; returns which."""
    step = step_at(room, at)
    if room.times[step] == at:
        return step
    last = room.used[0]
    for other in range(last, step + 1, -1):
        room.times[other] = room.times[other - 1]
    for place in range((last + 1) * num_resources - 1, (step + 2) * num_resources - 1, -1):
        room.free[place] = room.free[place - num_resources]
    for resource in range(num_resources):
        room.free[(step + 1) * num_resources + resource] = room.free[step * num_resources + resource]
    room.times[step + 1] = at
    room.used[0] = last + 1
    return step + 1


def take(work: Work, room: Room, num_resources: int, mode: int, at: int) -> None:
    """Take what a mode needs from a time on."""
    length = work.duration[mode]
    if length == 0:
        return
    first = cut(room, num_resources, at)
    last = cut(room, num_resources, at + length)
    for step in range(first, last):
        for resource in range(num_resources):
            room.free[step * num_resources + resource] -= work.need[mode * num_resources + resource]


def listed(work: Work, key: NDArray[np.float64], order: Ints, left: Ints) -> None:
    """Write the tasks to `order`, lowest key first among those whose predecessors are there. `left` is scratch, [n]."""
    num = len(order)
    for task in range(num):
        left[task] = work.first_before[task + 1] - work.first_before[task]
    placed = 0
    while placed < num:
        best = -1
        for task in range(num):
            if left[task] == 0 and (best < 0 or key[task] < key[best]):
                best = task
        order[placed] = best
        placed += 1
        left[best] = -1
        for task in range(num):
            if left[task] > 0:
                for at in range(work.first_before[task], work.first_before[task + 1]):
                    if work.before[at] == best:
                        left[task] -= 1


def generate(work: Work, room: Room, num_resources: int, order: Ints, starts: Ints, modes: Ints, ends: Ints) -> int:
    """Place the tasks of a list, one after the other, each in the mode that ends first; returns the makespan.

    What is fixed is in `room` already.
    """
    longest = 0
    for place in range(len(order)):
        task = order[place]
        if work.fixed[task] >= 0:
            starts[task], modes[task] = work.fixed[task], 0
            ends[task] = work.fixed[task] + work.duration[work.first_mode[task]]
        else:
            at = work.release[task]
            for link in range(work.first_before[task], work.first_before[task + 1]):
                at = max(at, ends[work.before[link]])
            ends[task] = FAR
            chosen = work.first_mode[task]
            for mode in range(work.first_mode[task], work.first_mode[task + 1]):
                start = soonest(work, room, num_resources, mode, at)
                if start + work.duration[mode] < ends[task]:
                    starts[task], ends[task], chosen = start, start + work.duration[mode], mode
            modes[task] = chosen - work.first_mode[task]
            take(work, room, num_resources, chosen, starts[task])
        longest = max(longest, ends[task])
    return int(longest)


INNER = (step_at, soonest, cut, take)
"""What `generate` calls."""
