"""The table of a serving recipe that says how much power a row of instances has."""

from __future__ import annotations

import math

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds


class PowerSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[power]``: what the row of all instances was provisioned with, and how fast it can be held down.

    Parameters
    ----------
    budget_watts : float
        What was provisioned, > 0.
    host_watts : float
        What an instance draws beside its accelerators, always, >= 0; 0.
    telemetry_s : float
        How long the meter averages, in seconds, > 0; 2. What is read is one interval old.
    command_delay_s : float
        From asked for a clock to having it, in seconds, >= 0; 40.
    brake_delay_s : float
        From power at the budget to the brake, in seconds, >= 0; 5.
    brake_hold_s : float
        How long the brake holds at least, in seconds, >= 0; 30, an assumption.
    brake_frac : float
        The clock of all under the brake, as a share of the highest, in (0, 1]; 288 of 1410 MHz.
    """

    budget_watts: float
    host_watts: float = 0.0
    telemetry_s: Seconds = 2.0
    command_delay_s: Seconds = 40.0
    brake_delay_s: Seconds = 5.0
    brake_hold_s: Seconds = 30.0
    brake_frac: float = 288 / 1410

    def __post_init__(self) -> None:
        for name in ("budget_watts", "telemetry_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"power: {name} must be > 0, got {getattr(self, name)}. Mend [power].")
        for name in ("host_watts", "command_delay_s", "brake_delay_s", "brake_hold_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"power: {name} must be >= 0, got {getattr(self, name)}. Mend [power].")
        if not 0 < self.brake_frac <= 1:
            raise ConfigError(f"power: brake_frac must be in (0, 1], got {self.brake_frac}. Try 0.2.")
