"""The power of a row of instances in virtual time: its meter, the clocks of its instances, and the power brake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from headway.core.actions import Set
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.power_news import FREQUENCY, FrequencySet, PowerRead
from headway.sim.serving.agenda import WAKE, Agenda
from headway.sim.serving.clocked import ClockedPrice
from headway.sim.serving.energy import Power
from headway.sim.serving.machine import Meter
from headway.sim.serving.power_spec import PowerSpec
from headway.sim.serving.price import BatchShape, StepPrice


class RowPower:
    """Meters a row, changes clocks after their delay, and brakes where the power comes to the budget.

    Power above idle goes into the interval in which it was drawn, as soon as the steps are in the books; the meter
    tells of the interval before the last. A step under way when a clock changes is finished as it began, and counted as
    drawing what it would at the new clock. The brake holds all clocks down at least for a while, until a reading is
    below the budget.

    Parameters
    ----------
    spec : PowerSpec
        The budget and the delays.
    power : mapping of str to Power
        Of every instance, at the highest clock.
    meter : Meter or None
        Told of everything as well.

    Attributes
    ----------
    num_brakes : int
        How often the brake was pulled.
    saved_joules : float
        What lower clocks have saved of what the same time of the same steps takes at the highest.
    """

    def __init__(self, spec: PowerSpec, power: Mapping[Id, Power], meter: Meter | None = None) -> None:
        self.num_brakes = 0
        self.saved_joules = 0.0
        self._spec = spec
        self._power = power
        self._meter = meter
        self._prices: dict[Id, ClockedPrice] = {}
        self._asked: dict[Id, float] = {}
        self._busy_joules: list[float] = [0.0]  # above idle, by interval
        self._idle_watts: list[float] = []
        self._pulled_s: Seconds | None = None
        self._braked = False
        self._braked_s: Seconds = 0.0

    def clocked(self, prices: Mapping[Id, StepPrice]) -> dict[Id, StepPrice]:
        """Return what steps cost at the clocks of the moment."""
        self._prices = {name: ClockedPrice(price) for name, price in prices.items()}
        self._asked = dict.fromkeys(prices, 1.0)
        return dict(self._prices)

    def begin(self, board: ServingBoard, agenda: Agenda, replan: Callable[[Id], None]) -> None:
        """Read the meter from now on; `replan` is called with an instance whose steps cost something else."""
        self._board, self._agenda, self._replan = board, agenda, replan
        agenda.add(self._spec.telemetry_s, WAKE, self._read)

    def set(self, action: Set) -> str | None:
        """Send a command to change the clock of an instance; returns why not."""
        if action.of not in self._asked:
            return f"there is no instance {action.of!r}"
        if not 0 < action.value <= 1:
            return f"{FREQUENCY} must be in (0, 1], {action.value:g} asked for"
        at_s = self._board.now_s + self._spec.command_delay_s
        self._agenda.add(at_s, WAKE, partial(self._change, action.of, action.value))
        return None

    def spent(self, instance: Id, shape: BatchShape, took_s: Seconds) -> None:
        """Note that an instance took this long for steps of about this shape, up to now."""
        if self._meter is not None:
            self._meter.spent(instance, shape, took_s)
        power, clock = self._power[instance], self._prices[instance].dynamic_frac
        full_watts = power.watts(shape) - power.idle_watts
        self.saved_joules += took_s * full_watts * (1 - clock)
        self._draw(max(0.0, self._board.now_s - took_s), full_watts * clock)

    def numbers(self) -> dict[str, float]:
        """Return what the row came to."""
        fracs = self.watts() / self._spec.budget_watts
        return {
            "num_brakes": float(self.num_brakes),
            "braked_s": self._braked_s,
            "peak_power_frac": float(fracs.max()) if len(fracs) else np.nan,
            "mean_power_frac": float(fracs.mean()) if len(fracs) else np.nan,
        }

    def watts(self) -> np.ndarray:
        """Return the mean power of every whole interval so far."""
        idle = np.array(self._idle_watts)
        return idle + np.array(self._busy_joules[: len(idle)]) / self._spec.telemetry_s

    def _draw(self, since_s: Seconds, watts: float) -> None:
        now_s, long_s = self._board.now_s, self._spec.telemetry_s
        joules = self._busy_joules
        last = int(now_s / long_s)
        joules.extend([0.0] * (last + 1 - len(joules)))
        for index in range(int(since_s / long_s), last + 1):
            joules[index] += watts * (min(now_s, (index + 1) * long_s) - max(since_s, index * long_s))

    def _read(self) -> Iterator[Event]:
        spec, now_s = self._spec, self._board.now_s
        up = [self._power[name].idle_watts + spec.host_watts for name in self._board.instances]
        self._idle_watts.append(sum(up))
        self._braked_s += spec.telemetry_s * self._braked
        self._agenda.add((len(self._idle_watts) + 1) * spec.telemetry_s, WAKE, self._read)
        index = len(self._idle_watts) - 2
        if index < 0:
            return
        busy = self._busy_joules[index] if index < len(self._busy_joules) else 0.0
        watts = self._idle_watts[index] + busy / spec.telemetry_s
        self._watch(watts)
        yield PowerRead(at_s=now_s, watts=watts, frac=watts / spec.budget_watts, braked=self._braked)

    def _watch(self, watts: float) -> None:
        """Pull the brake, or let go of it."""
        spec, now_s = self._spec, self._board.now_s
        over = watts >= spec.budget_watts
        if self._pulled_s is None and over:
            self.num_brakes += 1
            self._pulled_s = now_s + spec.brake_delay_s
            self._agenda.add(self._pulled_s, WAKE, partial(self._brake, True))
        elif self._braked and not over and self._pulled_s is not None and now_s >= self._pulled_s + spec.brake_hold_s:
            self._pulled_s = None
            self._agenda.add(now_s, WAKE, partial(self._brake, False))

    def _brake(self, braked: bool) -> Iterator[Event]:
        self._braked = braked
        for name in self._prices:
            self._clock(name)
        yield from ()

    def _change(self, name: Id, frac: float) -> Iterator[Event]:
        self._asked[name] = frac
        self._clock(name)
        yield FrequencySet(at_s=self._board.now_s, instance=name, frac=frac)

    def _clock(self, name: Id) -> None:
        frac = min(self._asked[name], self._spec.brake_frac) if self._braked else self._asked[name]
        if frac != self._prices[name].frac:
            self._prices[name].frac = frac
            self._replan(name)
