"""Words of shops without buffers: jobs with a route over machines, and what becomes of machines."""

from __future__ import annotations

from msgspec import Struct

from headway.core.events import Event
from headway.core.nouns import Id, Seconds, Work


class RoutedJob(Work, frozen=True, kw_only=True):
    """A job that visits machines in a given order; what is known of it is exact but for interruptions.

    Parameters
    ----------
    place : int
        Its number among the jobs of the run, from 0.
    route : tuple of (int, float)
        The number of the machine and the processing time of each operation, in seconds >= 0.
    """

    place: int
    route: tuple[tuple[int, Seconds], ...]


class OperationDone(Event, frozen=True, gc=False, kw_only=True):
    """An operation of `job` on `machine` is over; the job waits for its next machine, if it has not moved on by now."""

    job: Id
    machine: Id


class MachineOpened(Event, frozen=True, gc=False, kw_only=True):
    """`machine` can be given to one of those who wait for it, after others have moved."""

    machine: Id


class Swapped(Event, frozen=True, gc=False, kw_only=True):
    """Jobs that waited for each other in a circle have all moved on at once."""

    jobs: tuple[Id, ...]


class Segment(Struct, frozen=True, gc=False):
    """What a machine did for a while.

    Parameters
    ----------
    machine, job : int
        Their numbers; -1 for no job.
    what : str
        ``"processing"``, ``"blocked"`` (a finished job stands on it) or ``"down"``.
    start_s, end_s : float
        From when to when, in seconds.
    """

    machine: int
    job: int
    what: str
    start_s: Seconds
    end_s: Seconds
