"""Serial schedule generation for projects and everything else: by a rule, by dice around it, justified."""

from __future__ import annotations

from typing import Literal

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.numerics.jit import can_compile, is_ready
from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.problem import Problem
from headway.policies.shop.project_rules import RULES, Network
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule
from headway.policies.shop.seats import Tell
from headway.policies.shop.sgs_arrays import Arrays
from headway.policies.shop.sgs_kernel import generate

NAME = "shop/serial-sgs"
FEW = 3_000
"""With fewer schedules times tasks than that, waiting for a compiler does not pay."""
COMPILE_S = 5.0
"""Who has less time does not wait for a compiler."""


class SerialSgs:
    """Gives each task in turn the soonest place that its resources leave it, in the mode that ends first.

    For projects with resources of any capacity, modes, releases, downtimes and what is under way; shops of machines are
    projects, too. Every schedule is pushed to the right and back (double justification), which makes many shorter.

    Parameters
    ----------
    rule : str
        Whose turn it is: ``"lft"``, the default, latest finish first; ``"lst"``, latest start; ``"mts"``, most
        successors; ``"grpw"``, greatest rank positional weight; ``"spt"``, shortest; ``"est"``, earliest start.
    num_random : int
        How many more schedules to generate with keys that are drawn around those of the rule, >= 0; 50.
    spread : float
        By how much they are, as a share of the range of keys, >= 0; 0.2.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: R. Kolisch, "Serial and parallel resource-constrained project scheduling methods revisited: theory and
    computation", 1996 (scheme and rules); V. Valls, F. Ballestín, S. Quintanilla, "Justification and RCPSP: a technique
    that pays", 2005.

    Faithful to the paper: scheme, rules, double justification. Changed: sampling draws keys around those of the rule.

    Cost: O(tasks * steps * resources) a schedule; compiled, some 10 000 a second for 30 tasks.

    Examples
    --------
    >>> from headway.policies.shop.making import project
    >>> plan = project("two", [3, 2, 2], [[2], [1], [1]], [[2], [], []], [2])
    >>> SerialSgs().solve(plan, budget_s=1.0, rng=np.random.default_rng(0)).objective
    5
    """

    def __init__(
        self,
        *,
        rule: Literal["lft", "lst", "mts", "grpw", "spt", "est"] = "lft",
        num_random: int = 50,
        spread: float = 0.2,
    ) -> None:
        self.rule = rule
        self.num_random = num_random
        self.spread = spread
        if rule not in RULES:
            raise ConfigError(f"{NAME}: rule must be one of {', '.join(RULES)}, got {rule!r}. Try lft.")
        if num_random < 0:
            raise ConfigError(f"{NAME}: num_random must be >= 0, got {num_random}. Try 50.")
        if not spread >= 0:
            raise ConfigError(f"{NAME}: spread must be >= 0, got {spread}. Try 0.2.")

    def solve(
        self,
        problem: Problem,
        *,
        budget_s: Seconds,
        rng: np.random.Generator,
        start: Schedule | None = None,
        tell: Tell | None = None,
    ) -> Result:
        """Generate schedules; see `Solver`."""
        if problem.blocking or problem.permutation:
            got = "blocking machines" if problem.blocking else "one order for all machines"
            raise ConfigError(f"{NAME}: tasks must be free to start when resources are, got {got}. Try shop/headway.")
        watch = Stopwatch(budget_s)
        best = Incumbent(problem, NAME, watch, tell)
        best.offer(start)
        network = Network(problem)
        best.prove(critical_path(problem, network))
        key = np.array(RULES[self.rule](network), float)
        wait = watch.budget_s >= COMPILE_S or is_ready(generate)
        fast = can_compile() and wait and self.num_random * problem.num_tasks > FEW
        arrays = Arrays(problem, fast=fast)
        first = arrays.by_key(key)
        best.offer(first)
        best.offer(arrays.justified(first))
        width = self.spread * float(np.ptp(key) or 1.0)
        for _ in range(self.num_random):
            if watch.is_over or best.is_proven:
                break
            drawn = arrays.by_key(key + rng.uniform(-width, width, len(key)))
            best.offer(drawn)
            best.offer(arrays.justified(drawn))
        return best.result()


def critical_path(problem: Problem, network: Network) -> float | None:
    """Return the longest path through the network as a bound on the makespan; None for other objectives."""
    if problem.objective != "makespan" or any(task.fixed_start is not None for task in problem.tasks):
        return None
    return float(max(start + length for start, length in zip(network.start, network.duration, strict=True)))
