"""Dispatching rules for shops without buffers: which of those who wait for a machine gets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.policies.shop.isbjssp_board import ShopFloor

Name: TypeAlias = Literal["fifo", "lifo", "spt", "lpt", "mtwr", "ltwr", "mor", "lor", "random"]


def work_left_s(floor: ShopFloor, job: int) -> float:
    """Return the processing time of the operations that a waiting job has left."""
    return sum([time_s for _, time_s in floor.jobs[job].route[floor.operation[job] :]])


def _operations_left(floor: ShopFloor, job: int) -> int:
    return len(floor.jobs[job].route) - floor.operation[job]


KEYS: dict[str, Callable[[ShopFloor, int], float]] = {
    "spt": lambda floor, job: floor.left_s[job],
    "lpt": lambda floor, job: -floor.left_s[job],
    "mtwr": lambda floor, job: -work_left_s(floor, job),
    "ltwr": work_left_s,
    "mor": lambda floor, job: -_operations_left(floor, job),
    "lor": _operations_left,
}
"""The smallest comes first; first come, first served among equals."""
RULES: tuple[Name, ...] = ("fifo", "lifo", "spt", "lpt", "mtwr", "ltwr", "mor", "lor", "random")


class BlockingRule:
    """Gives every machine that is free at once to the first of those who wait for it, by a rule.

    Parameters
    ----------
    rule : str
        ``"fifo"`` and ``"lifo"``: who has waited longest, or least; ``"spt"`` and ``"lpt"``: the shortest or longest
        operation; ``"mtwr"`` and ``"ltwr"``: the most or least work remaining; ``"mor"`` and ``"lor"``: the most or
        fewest operations remaining; ``"random"``: anybody. Most work remaining by default.

    Raises
    ------
    ConfigError
        When there is no such rule.

    Notes
    -----
    Source: classical rules, the baselines of Wong, Kim, Park, Park and Law, 2023 (see `shop/isbjssp-gnn`).

    Faithful to the paper: each rule is what its name has always meant; which of them the publication compares with is a
    reconstruction.

    Cost: O(jobs that wait) per machine that opens, O(operations) for each of them where work remaining is asked for.

    Examples
    --------
    >>> from headway.core.drivers import simulate
    >>> from headway.sim.shop.blocking_instances import small_world
    >>> world, _ = small_world(seed=0)
    >>> simulate(world, BlockingRule(rule="spt")).num_refused
    0
    """

    def __init__(self, *, rule: Name = "mtwr") -> None:
        self.rule = rule
        if rule not in RULES:
            raise ConfigError(f"shop/blocking-rule: rule must be one of {', '.join(RULES)}, got {rule!r}. Try mtwr.")
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Keep the generator; there is nothing else to remember."""
        self._rng = rng

    def decide(self, event: Event, view: ShopFloor) -> Iterator[Action]:
        """Start somebody on every machine that is open."""
        for machine in list(view.open_machines()):
            yield view.start_of(self._choose(view, view.queues[machine]))

    def _choose(self, view: ShopFloor, queue: list[int]) -> int:
        if self.rule == "random":
            return queue[int(self._rng.integers(len(queue)))]
        if self.rule in ("fifo", "lifo"):
            return queue[0 if self.rule == "fifo" else -1]
        return min(queue, key=lambda job: KEYS[self.rule](view, job))
