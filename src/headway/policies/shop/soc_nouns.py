"""Words of a system on a chip: applications as graphs of tasks, jobs that run them, tasks that end."""

from __future__ import annotations

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id, Seconds, Work

PE = "pe"
"""The kind of resource that is a processing element."""
SLOT = "slot"
"""What a processing element offers: one task at a time."""


class Application(Struct, frozen=True):
    """What a job computes: a graph of tasks, each with a time on every processing element.

    Parameters
    ----------
    name : str
        For example ``"wifi-tx"``.
    times_s : tuple of tuple of (float or None)
        By task and processing element, the expected time in seconds, > 0; None where the task cannot run.
    edges : tuple of (int, int, float)
        Parent, child and the volume of data that goes from the one to the other, >= 0.
    """

    name: str
    times_s: tuple[tuple[Seconds | None, ...], ...]
    edges: tuple[tuple[int, int, float], ...] = ()

    def check(self) -> None:
        """Raise `ConfigError` when this is no application."""
        num = len(self.times_s)
        if not num or any(not any(one is not None for one in row) for row in self.times_s):
            raise self._wrong("every task must run somewhere", f"{num} tasks, one with no time")
        if len({len(row) for row in self.times_s}) != 1 or any(one is not None and one <= 0 for one in self._times):
            raise self._wrong("times must be > 0, as many for each task", "others")
        for parent, child, volume in self.edges:
            if not (0 <= parent < num and 0 <= child < num and volume >= 0):
                raise self._wrong(f"edges must join tasks 0 to {num - 1}", f"{parent} to {child} with {volume:g}")
        if _has_circle(num, self.edges):
            raise self._wrong("tasks must not wait for themselves", "edges that go in a circle")

    @property
    def _times(self) -> list[Seconds | None]:
        return [one for row in self.times_s for one in row]

    def _wrong(self, must: str, got: str) -> ConfigError:
        return ConfigError(f"application {self.name!r}: {must}, got {got}. Mend its table.")


class SocJob(Work, frozen=True, kw_only=True):
    """One run of an application."""

    application: Application


class SocTaskDone(Event, frozen=True, gc=False, kw_only=True):
    """A task is over, and its job is not; the last of a job ends with `Finished` instead.

    Parameters
    ----------
    job : str
        The job.
    task : int
        Its place in the application.
    pe : str
        Where it ran.
    """

    job: Id
    task: int
    pe: Id


def task_id(job: Id, task: int) -> Id:
    """Return the id by which `Start` names a task."""
    return f"{job}.{task}"


def task_of(id: Id) -> tuple[Id, int]:
    """Return the job and the place of a task from its id; the place is -1 when this is no such id.

    Examples
    --------
    >>> task_of("job-7.3")
    ('job-7', 3)
    """
    job, _, place = id.rpartition(".")
    return job, int(place) if place.isdecimal() else -1


def _has_circle(num: int, edges: tuple[tuple[int, int, float], ...]) -> bool:
    open_parents = [0] * num
    for _, child, _ in edges:
        open_parents[child] += 1
    free = [task for task in range(num) if not open_parents[task]]
    for task in free:  # grows while it is walked
        for parent, child, _ in edges:
            if parent == task:
                open_parents[child] -= 1
                if not open_parents[child]:
                    free.append(child)
    return len(free) < num
