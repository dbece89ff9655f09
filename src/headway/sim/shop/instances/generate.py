"""Random instances of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import ConfigError
from headway.policies.shop.making import flexible_job_shop, project, single_machine
from headway.policies.shop.problem import Problem
from headway.sim.shop.instances.taillard import MODULUS, taillard_flow_shop, taillard_job_shop


def random_job_shop(num_jobs: int, num_machines: int, rng: np.random.Generator, **more: Any) -> Problem:
    """Make a job shop of Taillard's kind: durations uniform in 1 .. 99, each machine once in random order."""
    _at_least("num_jobs", num_jobs, 1)
    _at_least("num_machines", num_machines, 1)
    return taillard_job_shop(num_jobs, num_machines, *(int(seed) for seed in rng.integers(1, MODULUS, 2)), **more)


def random_flow_shop(num_jobs: int, num_machines: int, rng: np.random.Generator, **more: Any) -> Problem:
    """Make a permutation flow shop of Taillard's kind: durations uniform in 1 .. 99."""
    _at_least("num_jobs", num_jobs, 1)
    _at_least("num_machines", num_machines, 1)
    return taillard_flow_shop(num_jobs, num_machines, int(rng.integers(1, MODULUS)), **more)


def random_flexible_shop(
    num_jobs: int, num_machines: int, num_tasks: int, flexibility: float, rng: np.random.Generator, **more: Any
) -> Problem:
    """Make a flexible job shop.

    Parameters
    ----------
    num_jobs, num_machines, num_tasks : int
        Tasks are per job; >= 1.
    flexibility : float
        The mean number of machines that could run a task, in 1 .. `num_machines`; numbers are uniform around it.
    rng : numpy.random.Generator
        The dice.
    **more
        Further fields of `Problem`; `name`.
    """
    _at_least("num_jobs", num_jobs, 1)
    _at_least("num_tasks", num_tasks, 1)
    if not 1 <= flexibility <= num_machines:
        raise ConfigError(f"flexibility must be in 1 .. {num_machines} machines, got {flexibility}. Try 2.")
    reach = min(flexibility - 1, num_machines - flexibility)
    rows = []
    for _ in range(num_jobs):
        counts = np.rint(rng.uniform(flexibility - reach, flexibility + reach, num_tasks)).astype(int)
        rows.append([_ways(num_machines, int(count), rng) for count in counts])
    name = more.pop("name", f"flexible-{num_jobs}x{num_machines}")
    return flexible_job_shop(name, rows, capacity=(1,) * num_machines, **more)


def _ways(num_machines: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return machines with durations within a third of each other's mean: no machine is good at nothing."""
    mean = rng.integers(10, 90)
    machines = np.sort(rng.permutation(num_machines)[:count])
    durations = np.maximum(np.rint(mean * rng.uniform(2 / 3, 4 / 3, count)), 1).astype(int)
    return [(int(machine), int(duration)) for machine, duration in zip(machines, durations, strict=True)]


def random_tardiness(
    num_jobs: int,
    tightness: float,
    spread: float,
    rng: np.random.Generator,
    *,
    is_weighted: bool = True,
    **more: Any,
) -> Problem:
    """Make a single machine with due times.

    Parameters
    ----------
    num_jobs : int
        >= 1.
    tightness : float
        The share of jobs that are late if nothing is done about it, in 0 .. 1: due times lie around
        ``(1 - tightness)`` of all work.
    spread : float
        The width of the span of due times, as a share of all work, in 0 .. 1.
    rng : numpy.random.Generator
        The dice.
    is_weighted : bool
        Whether weights are uniform in 1 .. 10, or all 1 with total tardiness as the objective; True.
    **more
        Further fields of `Problem`; `name`.

    Source: C. N. Potts, L. N. Van Wassenhove, "A branch and bound algorithm for the total weighted tardiness problem",
    Operations Research 33, 1985: durations uniform in 1 .. 100.
    """
    _at_least("num_jobs", num_jobs, 1)
    for name, value in (("tightness", tightness), ("spread", spread)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} must be in 0 .. 1, got {value}. Try 0.6.")
    durations = rng.integers(1, 101, num_jobs)
    weights = rng.integers(1, 11, num_jobs).tolist() if is_weighted else None
    work = float(durations.sum())
    low = max(round(work * (1 - tightness - spread / 2)), 0)
    due = rng.integers(low, max(round(work * (1 - tightness + spread / 2)), low) + 1, num_jobs)
    name = more.pop("name", f"tardiness-{num_jobs}-{tightness:g}-{spread:g}")
    return single_machine(name, durations.tolist(), due.tolist(), weights, **more)


def random_project(
    num_activities: int,
    num_resources: int,
    rng: np.random.Generator,
    *,
    complexity: float = 1.8,
    factor: float = 0.5,
    strength: float = 0.2,
    **more: Any,
) -> Problem:
    """Make a project after the parameters of PSPLIB.

    Parameters
    ----------
    num_activities, num_resources : int
        >= 1; activities without dummies.
    rng : numpy.random.Generator
        The dice.
    complexity : float
        The mean number of successors of an activity, >= 0; 1.8 by default.
    factor : float
        The share of resources that an activity needs, in 0 .. 1; 0.5.
    strength : float
        How far each capacity is from the least that suits every activity (0) to the most that all could use at once if
        they started as early as precedence allows (1); 0.2.
    **more
        Further fields of `Problem`; `name`.

    Source: R. Kolisch, A. Sprecher, A. Drexl, "Characterization and generation of a general class of
    resource-constrained project scheduling problems", Management Science 41, 1995: durations and needs uniform in
    1 .. 10. Their limits of the numbers of starts, ends, successors and predecessors are left out.
    """
    _at_least("num_activities", num_activities, 1)
    _at_least("num_resources", num_resources, 1)
    for name, value, most in (("complexity", complexity, np.inf), ("factor", factor, 1), ("strength", strength, 1)):
        if not 0 <= value <= most:
            raise ConfigError(f"{name} must be in 0 .. {most:g}, got {value}. Leave it out for a usual one.")
    successors = _network(num_activities, complexity, rng)
    durations = rng.integers(1, 11, num_activities)
    needs = rng.integers(1, 11, (num_activities, num_resources))
    needs[rng.random(needs.shape) >= factor] = 0
    least, most_used = needs.max(axis=0), _peak(durations, needs, successors)
    capacity = np.maximum(least + np.rint(strength * (most_used - least)), 1).astype(int)
    name = more.pop("name", f"project-{num_activities}")
    return project(name, durations.tolist(), needs.tolist(), successors, capacity.tolist(), **more)


def _network(count: int, complexity: float, rng: np.random.Generator) -> list[list[int]]:
    """Return successors: each activity but the first waits for one before it, and further pairs are drawn at random."""
    pairs = {(int(rng.integers(max(0, later - 10), later)), later) for later in range(1, count)}
    wanted = min(round(complexity * count), count * (count - 1) // 2)
    while len(pairs) < wanted:
        one, other = sorted(int(number) for number in rng.integers(0, count, 2))
        if one < other:
            pairs.add((one, other))
    return [sorted(other for one, other in pairs if one == number) for number in range(count)]


def _peak(durations: NDArray[np.int64], needs: NDArray[np.int64], successors: list[list[int]]) -> NDArray[np.int64]:
    """Return the most that is used of each resource when all start as early as precedence allows."""
    starts = np.zeros(len(durations), int)
    for number, following in enumerate(successors):  # successors have larger numbers
        for other in following:
            starts[other] = max(starts[other], starts[number] + durations[number])
    use = np.zeros((int((starts + durations).max()), needs.shape[1]), int)
    for number, start in enumerate(starts):
        use[start : start + durations[number]] += needs[number]
    return np.asarray(use.max(axis=0))


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ConfigError(f"{name} must be >= {low}, got {value}. Ask for more.")
