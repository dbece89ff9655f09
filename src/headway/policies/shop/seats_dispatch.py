"""The seat of dispatching rules: which of the tasks that could begin now is first, as a key; lower is sooner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct

from headway.core.nouns import Amounts, Id, Seconds


class Ready(Struct, kw_only=True, gc=False):
    """A task that could begin, in one of its modes, as a rule sees it.

    In schedule generation without a world one unit of the instance counts as a second.

    Parameters
    ----------
    task, job : str
        Ids.
    mode : int
        Which mode of the task this is, >= 0.
    machine : str
        The first machine that this mode needs; empty when it needs none.
    duration_s : float
        Expected, in this mode, >= 0.
    work_left_s : float
        Expected work of this task and of all tasks of its job that must come after it, in seconds; the means of their
        modes. In a chain it is the work remaining of the job.
    num_left : int
        How many tasks that is, >= 1.
    job_work_s : float
        Expected work of the whole job, in seconds.
    job_num_tasks : int
        How many tasks the whole job has, >= 1.
    ready_since_s : float
        Since when it could begin.
    release_s : float
        When its job arrived.
    due_s : float
        When its job is due; infinite when it has no due date.
    weight : float
        Of its job, >= 0.
    number : int
        Counts tasks in the order in which they became ready: the tie-break of every rule.
    on : mapping
        What `Start` says of this mode: amounts by machine. Not to be changed.
    """

    task: Id
    job: Id = ""
    mode: int = 0
    machine: Id = ""
    duration_s: float
    work_left_s: float = 0.0
    num_left: int = 1
    job_work_s: float = 0.0
    job_num_tasks: int = 1
    ready_since_s: Seconds = 0.0
    release_s: Seconds = 0.0
    due_s: Seconds = math.inf
    weight: float = 1.0
    number: int = 0
    on: Mapping[Id, Amounts] = {}


class Rule(Protocol):
    """A dispatching rule.

    Attributes
    ----------
    dynamic : bool
        Whether keys depend on `now_s` (slack, ATC) or on the queue. Keys of a rule that is not dynamic are asked for
        once, when the task becomes ready.
    """

    @property
    def dynamic(self) -> bool:
        """Whether keys change while a task waits."""

    def key(self, ready: Ready, now_s: Seconds) -> float | tuple[float, ...]:
        """Return the key of a task that is ready; the lowest begins first, ties are broken by `ready.number`."""


class DrawingRule(Rule, Protocol):
    """A rule that throws dice. It is reset before each run."""

    def reset(self, rng: np.random.Generator) -> None:
        """Keep `rng` for all randomness of the run."""


class LookingRule(Rule, Protocol):
    """A dynamic rule whose keys depend on the other tasks in the queue (ATC needs their mean duration)."""

    def look(self, queue: Sequence[Ready], now_s: Seconds) -> None:
        """See the whole queue of a machine before the keys of its tasks are asked for."""
