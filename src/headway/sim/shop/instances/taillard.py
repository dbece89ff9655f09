"""Taillard's random job shops and flow shops, from the seeds that he published."""

from __future__ import annotations

from typing import Any

from headway.core.errors import ConfigError
from headway.policies.shop.making import flow_shop, job_shop
from headway.policies.shop.problem import Problem

MODULUS, FACTOR = 2**31 - 1, 16807
LONGEST = 99


class Dice:
    """The generator of Bratley, Fox and Schrage that Taillard used.

    Parameters
    ----------
    seed : int
        In 1 .. 2**31 - 2.
    """

    def __init__(self, seed: int) -> None:
        if not 0 < seed < MODULUS:
            raise ConfigError(f"taillard: seed must be in 1..{MODULUS - 1}, got {seed}. Take another.")
        self._state = seed

    def draw(self, low: int, high: int) -> int:
        """Return a whole number between `low` and `high`, both included."""
        self._state = self._state * FACTOR % MODULUS
        return low + int(self._state / MODULUS * (high - low + 1))


def taillard_job_shop(num_jobs: int, num_machines: int, time_seed: int, machine_seed: int, **more: Any) -> Problem:
    """Make a job shop as É. Taillard did in "Benchmarks for basic scheduling problems" (EJOR 64, 1993), section 4.

    Parameters
    ----------
    num_jobs, num_machines : int
        >= 1; each job visits each machine once.
    time_seed, machine_seed : int
        In 1 .. 2**31 - 2.
    **more
        Further fields of `Problem`; `name`.

    Examples
    --------
    His first, of 15 jobs on 15 machines:

    >>> ta01 = taillard_job_shop(15, 15, 840612802, 398197754)
    >>> ta01.tasks[0].modes[0]
    Mode(duration=94, needs=((6, 1),))
    """
    times, machines = Dice(time_seed), Dice(machine_seed)
    durations = [[times.draw(1, LONGEST) for _ in range(num_machines)] for _ in range(num_jobs)]
    routes = []
    for _ in range(num_jobs):
        route = list(range(num_machines))
        for place in range(num_machines):
            other = machines.draw(place, num_machines - 1)
            route[place], route[other] = route[other], route[place]
        routes.append(route)
    rows = [list(zip(route, row, strict=True)) for route, row in zip(routes, durations, strict=True)]
    name = more.pop("name", f"taillard-{num_jobs}x{num_machines}-{time_seed}-{machine_seed}")
    return job_shop(name, rows, capacity=(1,) * num_machines, **more)


def taillard_flow_shop(num_jobs: int, num_machines: int, time_seed: int, **more: Any) -> Problem:
    """Make a permutation flow shop as Taillard did in the same paper, section 3; parameters as there."""
    dice = Dice(time_seed)
    rows = [[dice.draw(1, LONGEST) for _ in range(num_jobs)] for _ in range(num_machines)]
    name = more.pop("name", f"taillard-flow-{num_jobs}x{num_machines}-{time_seed}")
    return flow_shop(name, list(zip(*rows, strict=True)), **{"permutation": True, **more})
