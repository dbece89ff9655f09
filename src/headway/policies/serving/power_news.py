"""What policies hear of power: the meter of a row of instances, and clocks that have changed."""

from __future__ import annotations

from headway.core.events import Event
from headway.core.nouns import Id

FREQUENCY = "frequency_frac"
"""What `Set` turns, of an instance: its clock, as a share of the highest."""


class PowerRead(Event, frozen=True, gc=False, kw_only=True):
    """The meter of a row of instances has been read.

    Parameters
    ----------
    watts : float
        The mean power of the row over the interval before the last, >= 0.
    frac : float
        The same as a share of what the row was provisioned with.
    braked : bool
        Whether the power brake holds all clocks down.
    """

    watts: float
    frac: float
    braked: bool = False


class FrequencySet(Event, frozen=True, gc=False, kw_only=True):
    """A command to change the clock of an instance has come through.

    Parameters
    ----------
    instance : str
        Whose clock.
    frac : float
        What was asked for, in (0, 1]; the power brake may hold it lower.
    """

    instance: Id
    frac: float
