"""From an order of tasks to links, and how long they last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import ConfigError, missing_extra
from headway.policies.shop.ffeea_nouns import Link, LinkProblem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Decoder:
    """Turns orders of the tasks of a problem into links.

    In order, each task takes the longest link that what is left of its windows has room for, and of equal ones the
    first found, window by window. One that finds no room is left out.

    Parameters
    ----------
    problem : LinkProblem
        Whose tasks they are.
    compiled : bool
        Whether it is compiled; without, the same steps are taken in plain Python, a hundred times as slowly.

    Raises
    ------
    ConfigError
        When the problem contradicts itself.
    MissingExtra
        When numba is not installed.
    """

    def __init__(self, problem: LinkProblem, *, compiled: bool = True) -> None:
        check(problem)
        self.problem = problem
        self.num_decoded = 0
        self._decode_all = _compiled() if compiled else _plain()
        self._index = {antenna: n for n, antenna in enumerate(problem.antennas)}
        satellites = sorted({task.satellite for task in problem.tasks} | {one.satellite for one in problem.fed})
        self._satellites = {satellite: n for n, satellite in enumerate(satellites)}
        self._windows = [window for task in problem.tasks for window in task.windows]
        self._fixed = (*self._of_windows(), self._of_tasks(), _matrix(problem.switch_s), problem.now_s)
        self._books = (*self._what_is_taken(), *self._what_is_fed())

    def seconds(self, order: Ints) -> float:
        """Return how long links last in all when tasks are taken in this order."""
        return float(self.all_seconds(order[None, :])[0])

    def all_seconds(self, orders: Ints) -> Floats:
        """Return it for each row of orders, ``[orders]``."""
        self.num_decoded += len(orders)
        return self._decode_all(orders, *self._fixed, *self._books, self._empty())

    def links(self, order: Ints) -> tuple[Link, ...]:
        """Return the links, by task."""
        found = self._empty()
        self._decode_all(order[None, :], *self._fixed, *self._books, found)
        return tuple(
            Link(task.id, self._windows[window].antennas, int(start), int(end))
            for task, (window, start, end) in zip(self.problem.tasks, found.tolist(), strict=True)
            if window >= 0
        )

    def _empty(self) -> Ints:
        return np.empty((len(self.problem.tasks), 3), dtype=np.int64)

    def _of_windows(self) -> tuple[Ints, Ints, Ints]:
        firsts = np.cumsum([0, *(len(task.windows) for task in self.problem.tasks)], dtype=np.int64)
        most = max((len(window.antennas) for window in self._windows), default=1)
        antennas = np.full((len(self._windows), most), -1, dtype=np.int64)
        for n, window in enumerate(self._windows):
            antennas[n, : len(window.antennas)] = [self._index[antenna] for antenna in window.antennas]
        spans = np.array([(window.start_s, window.end_s) for window in self._windows], dtype=np.int64).reshape(-1, 2)
        return firsts, spans, antennas

    def _of_tasks(self) -> Ints:
        rows = [
            (task.min_s, task.max_s, task.setup_s, task.teardown_s, task.mode, self._satellites[task.satellite])
            for task in self.problem.tasks
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 6)

    def _what_is_taken(self) -> tuple[Ints, Ints]:
        problem = self.problem
        could = np.zeros(len(problem.antennas), dtype=np.int64)  # links that could come to each antenna
        for task in problem.tasks:
            for antenna in {antenna for window in task.windows for antenna in window.antennas}:
                could[self._index[antenna]] += 1
        joined = list(problem.taken_spans().values())
        num = np.array([len(several) for several in joined], dtype=np.int64)
        taken = np.zeros((len(joined), 2, int((num + could).max(initial=0)) + 1), dtype=np.int64)
        for n, several in enumerate(joined):
            if several:
                taken[n, :, : len(several)] = np.array(several).T
        return taken, num

    def _what_is_fed(self) -> tuple[Ints, Ints]:
        num = np.zeros(max(len(self._satellites), 1), dtype=np.int64)
        could = np.bincount([self._satellites[t.satellite] for t in self.problem.tasks] or [0], minlength=len(num))
        fed = np.zeros((len(num), 3, int(could.max()) + len(self.problem.fed) + 1), dtype=np.int64)
        for one in sorted(self.problem.fed, key=lambda one: one.start_s):
            satellite = self._satellites[one.satellite]
            fed[satellite, :, num[satellite]] = one.start_s, one.end_s, one.mode
            num[satellite] += 1
        return fed, num


def check(problem: LinkProblem) -> None:
    """Raise for a problem that contradicts itself, in one sentence.

    Raises
    ------
    ConfigError
        When a task has no window, an antenna is not known, or a number is out of its range.
    """
    known, num_modes = set(problem.antennas), len(problem.switch_s)
    for task in problem.tasks:
        if not task.windows:
            raise _wrong(problem, f"{task.id} must have a window", "none")
        if not 1 <= task.min_s <= task.max_s:
            raise _wrong(problem, f"{task.id} must last 1 <= min_s <= max_s", f"{task.min_s} and {task.max_s}")
        if num_modes and not 0 <= task.mode < num_modes:
            raise _wrong(problem, f"the mode of {task.id} must be in 0..{num_modes - 1}", str(task.mode))
        for window in task.windows:
            if not window.antennas or not known.issuperset(window.antennas):
                raise _wrong(problem, f"antennas of {task.id} must be among those of the problem", str(window.antennas))
            if window.end_s < window.start_s:
                raise _wrong(problem, f"windows of {task.id} must end after they start", str(window))


def _wrong(problem: LinkProblem, must: str, came: str) -> ConfigError:
    return ConfigError(f"links {problem.name}: {must}, got {came}. Mend the problem.")


def _matrix(rows: tuple[tuple[int, ...], ...]) -> Ints:
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(rows))


def _compiled() -> Callable[..., Floats]:
    try:
        import headway.policies.shop.ffeea_decoder_kernel as kernel
    except ModuleNotFoundError as error:
        raise missing_extra("numba", "shop", "to compile the decoder of links") from error
    decode_all: Callable[..., Floats] = kernel.decode_all
    return decode_all


@functools.cache
def _plain() -> Callable[..., Floats]:
    """Return the decoder as Python runs it: every function of the compiled module without its compiler."""
    import types

    _compiled()
    import headway.policies.shop.ffeea_decoder_kernel as kernel

    names: dict[str, Any] = dict(vars(kernel))
    for name in ("_after", "_put", "_limit", "decode", "decode_all"):
        function = getattr(kernel, name).py_func
        names[name] = types.FunctionType(function.__code__, names, name)
    decode_all: Callable[..., Floats] = names["decode_all"]
    return decode_all
