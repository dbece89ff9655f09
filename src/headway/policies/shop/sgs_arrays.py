"""Any problem as the arrays of schedule generation, forwards and backwards in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import headway.policies.shop.sgs_kernel as kernel
from headway.numerics.jit import compiled
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import Schedule, ends


class Arrays:
    """Generates schedules of a problem from lists of its tasks.

    Parameters
    ----------
    problem : Problem
        Neither blocking nor permutation.
    fast : bool
        Whether to compile the loops.
    """

    def __init__(self, problem: Problem, *, fast: bool) -> None:
        self.problem, self._fast = problem, fast
        self._num, self._num_resources = problem.num_tasks, problem.num_resources
        before = [task.after for task in problem.tasks]
        after: list[list[int]] = [[] for _ in problem.tasks]
        for number, task in enumerate(problem.tasks):
            for one in task.after:
                after[one].append(number)
        fixed = [-1 if task.fixed_start is None else task.fixed_start for task in problem.tasks]
        none = [0] * self._num
        self._work = self._made(before, [task.release for task in problem.tasks], fixed)
        self._back = self._made(after, none, [-1] * self._num)
        self._order, self._starts, self._modes, self._ends, self._left = (self._ints(none) for _ in range(5))
        self._calls = (kernel.generate, kernel.listed)
        if fast:
            self._calls = (compiled(kernel.generate, *kernel.INNER), compiled(kernel.listed))
        self._busy = self._taken(self._room(), fixed)
        self._empty = self._room()

    def by_key(self, key: Sequence[float] | NDArray[np.float64], *, backwards: bool = False) -> Schedule:
        """Generate by keys: of the tasks that all predecessors of have a place, the lowest is next."""
        keys = np.asarray(key, float) if self._fast else [float(one) for one in key]
        work = self._back if backwards else self._work
        self._calls[1](work, keys, self._order, self._left)  # type: ignore[arg-type]
        room = self._copy(self._empty if backwards else self._busy)
        self._calls[0](work, room, self._num_resources, self._order, self._starts, self._modes, self._ends)
        return Schedule(tuple(map(int, self._starts)), tuple(map(int, self._modes)))

    def justified(self, schedule: Schedule) -> Schedule:
        """Push a schedule to the right as far as it goes, and back to the left; plain projects never get longer."""
        end = ends(self.problem, schedule)
        late = self.by_key([-one for one in end], backwards=True)
        # Backwards, what starts last here ends first.
        return self.by_key([-one for one in self._mirrored_ends(late)])

    def _mirrored_ends(self, late: Schedule) -> list[int]:
        tasks = self.problem.tasks
        return [start + tasks[n].modes[late.modes[n]].duration for n, start in enumerate(late.starts)]

    def _made(self, before: Sequence[Sequence[int]], release: Sequence[int], fixed: Sequence[int]) -> kernel.Work:
        modes = [mode for task in self.problem.tasks for mode in task.modes]
        need = [0] * (len(modes) * self._num_resources)
        for number, mode in enumerate(modes):
            for resource, amount in mode.needs:
                need[number * self._num_resources + resource] += amount
        return kernel.Work(
            self._ints(_firsts([task.modes for task in self.problem.tasks])),
            self._ints([mode.duration for mode in modes]),
            self._ints(need),
            self._ints(_firsts(before)),
            self._ints([one for row in before for one in row]),
            self._ints(release),
            self._ints(fixed),
        )

    def _room(self) -> kernel.Room:
        """Return room in which nothing is taken."""
        size = 2 * (self._num + len(self.problem.downtimes)) + 2
        free = [*self.problem.capacity, *[0] * (self._num_resources * (size - 1))]
        return kernel.Room(self._ints([0] * size), self._ints(free), self._ints([1]))

    def _taken(self, room: kernel.Room, fixed: Sequence[int]) -> kernel.Room:
        """Take what is under way and what is down."""
        num = self._num_resources
        for task, start in enumerate(fixed):
            if start >= 0:
                kernel.take(self._work, room, num, int(self._work.first_mode[task]), start)
        for down in self.problem.downtimes:
            if down.end > down.start:
                first = kernel.cut(room, num, down.start)
                for step in range(first, kernel.cut(room, num, down.end)):
                    room.free[step * num + down.resource] = -1
        return room

    def _copy(self, room: kernel.Room) -> kernel.Room:
        if self._fast:
            return kernel.Room(room.times.copy(), room.free.copy(), room.used.copy())
        return kernel.Room(*(list(part) for part in room))  # type: ignore[arg-type]

    def _ints(self, values: Iterable[int]) -> Any:
        found = [int(value) for value in values]
        return np.array(found, np.int64) if self._fast else found


def _firsts(rows: Sequence[Sequence[object]]) -> list[int]:
    """Return where each row begins when all are put behind one another, and where the last ends."""
    found = [0]
    for row in rows:
        found.append(found[-1] + len(row))
    return found
