"""When machines break down, and when they are back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds

CHUNK = 256


class Breakdown(Struct, frozen=True, kw_only=True):
    """One breakdown of one machine.

    Parameters
    ----------
    machine : str
        Which.
    at_s : float
        When, in seconds since the start of the run, >= 0.
    lasts_s : float
        How long it is away, in seconds, > 0.
    """

    machine: Id
    at_s: Seconds
    lasts_s: Seconds


class Failures(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often machines break down: every one by itself, whether it works or not.

    Parameters
    ----------
    mtbf_s : float
        Mean time from a repair to the next breakdown, in seconds, > 0; exponential.
    repair_s : float
        Mean time that a repair takes, in seconds, > 0; exponential as well.
    """

    mtbf_s: Seconds
    repair_s: Seconds

    def __post_init__(self) -> None:
        if not (self.mtbf_s > 0 and self.repair_s > 0):
            raise ConfigError(
                f"failures: mtbf_s and repair_s must be > 0, got {self.mtbf_s} and {self.repair_s}. Leave them out for "
                "machines that never break down."
            )

    @property
    def up_frac(self) -> float:
        """The share of time in which a machine is up."""
        return self.mtbf_s / (self.mtbf_s + self.repair_s)


def drawn(failures: Failures, rng: np.random.Generator) -> Iterator[tuple[Seconds, Seconds]]:
    """Yield the begin and the end of every breakdown of one machine, for ever."""
    now_s = 0.0
    while True:
        ups, repairs = rng.exponential(failures.mtbf_s, CHUNK), rng.exponential(failures.repair_s, CHUNK)
        for up_s, repair_s in zip(ups.tolist(), repairs.tolist(), strict=True):
            now_s += up_s
            yield now_s, now_s + repair_s
            now_s += repair_s


def of_machine(machine: Id, given: Sequence[Breakdown]) -> Iterator[tuple[Seconds, Seconds]]:
    """Yield the begin and the end of every given breakdown of one machine, in order of time."""
    spans = sorted((one.at_s, one.at_s + one.lasts_s) for one in given if one.machine == machine)
    return iter(spans)


def check(given: Sequence[Breakdown], machines: Sequence[Id]) -> None:
    """Raise for a breakdown that cannot be.

    Raises
    ------
    ConfigError
        When its machine does not exist, or a time is out of its range.
    """
    for one in given:
        if one.machine not in machines:
            raise ConfigError(
                f"breakdown: machine must be one of {', '.join(machines)}, got {one.machine}. Mend its name."
            )
        if not (one.at_s >= 0 and one.lasts_s > 0):
            raise ConfigError(
                f"breakdown of {one.machine}: at_s must be >= 0 and lasts_s > 0, got {one.at_s} and {one.lasts_s}."
            )


def breakdowns_of(
    machines: Sequence[Id],
    failures: Failures | None,
    given: Sequence[Breakdown],
    streams: Sequence[np.random.Generator],
) -> list[Iterator[tuple[Seconds, Seconds]]]:
    """Return for each machine its breakdowns: those given, and after them none, or those drawn by themselves."""
    check(given, machines)
    if failures is None:
        return [of_machine(machine, given) for machine in machines]
    if given:
        raise ConfigError("breakdowns: must be given or drawn, got both. Leave one of them out.")
    return [chain(drawn(failures, stream)) for stream in streams]
