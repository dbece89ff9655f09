"""Runs of the loops of flow shops, compiled where that pays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import headway.policies.shop.flow_kernel as kernel
from headway.numerics.jit import can_compile, compiled
from headway.numerics.stopwatch import Stopwatch

PIECE_S = 0.1
"""How long the inner loop goes on before it looks at the time."""


class Flow:
    """Orders of the jobs of a flow shop.

    Parameters
    ----------
    times : sequence of sequence of int
        Durations, [jobs, stages].
    rng : numpy.random.Generator
        For all that is drawn.
    fast : bool
        Whether to compile, where that is possible.
    """

    def __init__(self, times: Sequence[Sequence[int]], rng: np.random.Generator, *, fast: bool) -> None:
        self._rows, self._fast = times, fast and can_compile()
        self._num, self._num_machines = len(times), len(times[0]) if times else 0
        self._time = self._ints(duration for row in times for duration in row)
        size = (self._num + 2) * self._num_machines
        self._scratch = kernel.Scratch(
            self._ints([0] * (size + self._num)),
            self._ints([0] * size),
            self._ints([0] * self._num_machines),
            self._ints(rng.integers(1, kernel.MASK, 1).tolist()),
            self._ints([0] * self._num),
            self._ints([0] * self._num),
        )

    def neh(self) -> list[int]:
        """Return the order of NEH."""
        ranked = sorted(range(self._num), key=lambda job: (-sum(self._rows[job]), job))
        order = self._ints([0] * self._num)
        run = compiled(kernel.neh, *kernel.INNER) if self._fast else kernel.neh
        run(self._time, self._num_machines, self._ints(ranked), order, self._scratch)
        return [int(job) for job in order]

    def greedy(
        self, first: Sequence[int], num_out: int, heat: float, bound: int, max_rounds: int, watch: Stopwatch,
        found: Callable[[list[int]], object],
    ) -> None:  # fmt: skip
        """Run iterated greedy from an order; `found` hears of every better one."""
        order, best = self._ints(first), self._ints(first)
        makespan = kernel.length(self._time, self._num_machines, order, self._num, self._scratch.row)
        state, rounds, told = self._ints([makespan, makespan, 0]), 1, makespan
        run = compiled(kernel.greedy, *kernel.INNER) if self._fast else kernel.greedy
        mean = sum(map(sum, self._rows)) / (self._num * self._num_machines)
        while state[2] < max_rounds and state[1] > bound and not watch.is_over:
            rounds, at_s = min(rounds, max_rounds - int(state[2])), watch.spent_s
            run(
                self._time, self._num_machines, order, best, state, min(num_out, self._num), heat * mean / 10,
                bound, rounds, self._scratch,
            )  # fmt: skip
            rounds = max(int(min(PIECE_S * rounds / max(watch.spent_s - at_s, 1e-6), 4 * rounds)), 1)
            if state[1] < told:
                told = int(state[1])
                found([int(job) for job in best])

    def _ints(self, values: Iterable[int]) -> Any:
        found = [int(value) for value in values]
        return np.array(found, np.int64) if self._fast else found
