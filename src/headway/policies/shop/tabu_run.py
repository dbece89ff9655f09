"""Runs of the inner loop of tabu search, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import headway.policies.shop.tabu_graph as graph
import headway.policies.shop.tabu_kernel as kernel
from headway.numerics.jit import can_compile, compiled, is_ready
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.tabu_model import Model

FEW = 2_000_000
"""With fewer moves times tasks than that, waiting for a compiler does not pay."""
COMPILE_S = 6.0
"""Who has less time does not wait for a compiler."""
PIECE_S = 0.1
"""How long the inner loop goes on before it looks at the time."""


class Runs:
    """Searches from one line after the other.

    Parameters
    ----------
    model : Model
        The job shop.
    kind : int
        The neighbourhood: 5, 6 or 7.
    rng : numpy.random.Generator
        For all that is drawn.
    watch : Stopwatch
        The budget.
    max_moves : int
        Over all runs.
    """

    def __init__(self, model: Model, kind: int, rng: np.random.Generator, watch: Stopwatch, max_moves: int) -> None:
        num, self._bound, self._kind, self._watch = model.num_tasks, model.bound, kind, watch
        self.left = max_moves
        wait = watch.budget_s >= COMPILE_S or is_ready(kernel.search)
        self._fast = max_moves * num > FEW and wait and can_compile()
        self._sizes = (len(model.problem.jobs), model.problem.num_resources)
        self._shop = graph.Shop(
            self._ints(model.duration),
            self._ints(model.release),
            self._ints(model.machine),
            self._ints(model.before),
            self._ints(model.after),
        )
        self._order = graph.Order(*self._zeros(num + 1, num + 1, num, num, num + 1, num + 1))
        for none in (self._order.previous, self._order.following):
            none[num] = num
        names, partners = (self._ints(rng.integers(1, 1 << 26, num).tolist()) for _ in range(2))
        dice = self._ints(rng.integers(1, graph.MASK, 1).tolist())
        width = max(num + 1, self._sizes[1])
        path, us, vs, ways, marks, spare, until = self._zeros(num, *[4 * num] * 3, width, width, kernel.TABU_SIZE)
        self._memory = graph.Memory(path, us, vs, ways, marks, spare, names, partners, until, dice)
        self._pace = 50.0
        self._told = sum(model.duration) + max(model.release) + 1

    def run(
        self, line: Sequence[int], patience: int, found: Callable[[list[int]], object] = lambda _: None
    ) -> tuple[int, list[int]]:
        """Search from a line until patience, moves or budget end; returns the best makespan and its line.

        `found` hears of the best line so far whenever it is better than all that it has heard of.
        """
        best, state = self._ints(line), self._ints([0] * 4)
        for rank, task in enumerate(line):
            self._order.line[rank] = task
        begin, search = (kernel.begin, kernel.search) if not self._fast else _compiled()
        begin(self._shop, self._order, self._memory, best, state, self._sizes[1])
        ended = False
        while not ended and self.left > 0 and not self._watch.is_over:
            num = min(max(int(self._pace), 20), patience, self.left)
            made, at_s = int(state[3]), self._watch.spent_s
            ended = search(
                self._shop, self._order, self._memory, best, state, self._sizes, self._kind, self._bound, patience, num
            )
            made = int(state[3]) - made
            self.left -= max(made, 1)
            if state[1] < self._told:
                self._told = int(state[1])
                found([int(task) for task in best])
            self._pace = min(PIECE_S * made / max(self._watch.spent_s - at_s, 1e-6), 4 * self._pace) + 1
        return int(state[1]), [int(task) for task in best]

    def _zeros(self, *sizes: int) -> list[Any]:
        return [self._ints([0] * size) for size in sizes]

    def _ints(self, values: Iterable[int]) -> Any:
        """Return whole numbers as the inner loop takes them: an array when compiled, else a list, which is faster."""
        found = [int(value) for value in values]
        return np.array(found, np.int64) if self._fast else found


def _compiled() -> tuple[Any, Any]:
    return compiled(kernel.begin, *kernel.INNER), compiled(kernel.search, *kernel.INNER)
