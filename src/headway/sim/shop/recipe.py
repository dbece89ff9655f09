"""What a recipe says of a shop: its machines, what arrives, and what jobs are promised."""

from __future__ import annotations

from typing import Literal

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds, Slo
from headway.core.slo import SloClass


class ShopSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[shop]``: machines, and the routes of jobs over them.

    Parameters
    ----------
    machines : int
        How many, >= 1.
    kind : str
        ``"job-shop"`` (each job visits its machines in an order of its own), ``"flow-shop"`` (all in the same order)
        or ``"flexible"`` (a job shop whose tasks have a choice of machines).
    tasks : int
        Of each job, in 1 .. machines; 0, the default, for all machines.
    shortest_s, longest_s : int
        Expected durations are uniform between these, in whole seconds, >= 1.
    choices : int
        Machines that can do a task of a flexible shop, in 1 .. machines; 2.
    instance : str
        A file of a public format instead, of which machines and jobs are taken; ``FILE:NAME`` for one of several.
    """

    machines: int = 10
    kind: Literal["job-shop", "flow-shop", "flexible"] = "job-shop"
    tasks: int = 0
    shortest_s: int = 1
    longest_s: int = 99
    choices: int = 2
    instance: str = ""

    def __post_init__(self) -> None:
        if self.machines < 1 or not 0 <= self.tasks <= self.machines:
            got = f"{self.machines} and {self.tasks}"
            raise ConfigError(f"[shop]: machines must be >= 1 and tasks in 0 .. machines, got {got}. Try 10 and 0.")
        if not 1 <= self.shortest_s <= self.longest_s:
            got = f"{self.shortest_s} and {self.longest_s}"
            raise ConfigError(f"[shop]: 1 <= shortest_s <= longest_s must hold, got {got}. Try 1 and 99.")
        if not 1 <= self.choices <= self.machines:
            raise ConfigError(f"[shop]: choices must be in 1 .. {self.machines}, got {self.choices}. Try 2.")

    @property
    def num_tasks(self) -> int:
        """Of each job."""
        return self.tasks or self.machines

    @property
    def job_work_s(self) -> Seconds:
        """Expected work of a job."""
        return self.num_tasks * (self.shortest_s + self.longest_s) / 2


class JobsSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[jobs]``: what arrives.

    Parameters
    ----------
    num : int
        How many jobs, >= 1.
    arrivals : str
        ``"poisson"``, or ``"at-once"`` for all of them at 0.
    busy_frac : float
        Share of the time in which machines would work at load 1 if they never broke down, > 0; 0.8.
    due_factor : (float, float)
        A job is due so many times its expected work after its arrival: uniform between the two, >= 0.
    weights : tuple of float
        Weights of jobs, each as likely as the others.
    """

    num: int = 200
    arrivals: Literal["poisson", "at-once"] = "poisson"
    busy_frac: float = 0.8
    due_factor: tuple[float, float] = (1.5, 3.0)
    weights: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.num < 1 or not self.busy_frac > 0:
            raise ConfigError(f"[jobs]: num must be >= 1 and busy_frac > 0, got {self.num} and {self.busy_frac}.")
        if not 0 <= self.due_factor[0] <= self.due_factor[1]:
            raise ConfigError(f"[jobs]: due_factor must be two numbers >= 0 that rise, got {list(self.due_factor)}.")
        if not self.weights or not min(self.weights) >= 0:
            raise ConfigError(f"[jobs]: weights must be one or more numbers >= 0, got {list(self.weights)}. Try [1].")

    def arrivals_s(self, num: int, work_s: Seconds, load: float, rng: np.random.Generator) -> np.ndarray:
        """Draw when `num` jobs arrive, in seconds, in order; each is so much work for a machine in the mean."""
        if self.arrivals == "at-once":
            return np.zeros(num)
        return np.cumsum(rng.exponential(work_s / (self.busy_frac * load), num))


class ShopSlo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[slo]]``: what jobs are promised.

    Parameters
    ----------
    name : str
        Of the class; all jobs are ``"default"``.
    flow_time_s, tardiness_s : float or None
        Bounds in seconds, > 0.
    quantile : float
        Share of the jobs that must meet each bound, in (0, 1].
    """

    name: str = "default"
    flow_time_s: Seconds | None = None
    tardiness_s: Seconds | None = None
    quantile: float = 0.9

    @property
    def slo_class(self) -> SloClass:
        """The promise."""
        bounds = {"flow_time_s": self.flow_time_s, "tardiness_s": self.tardiness_s}
        slos = tuple(Slo(metric, bound, self.quantile) for metric, bound in bounds.items() if bound is not None)
        return SloClass(name=self.name, slos=slos)
