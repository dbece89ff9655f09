"""The machines of a world: of which kind each instance's is, and how it becomes another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.state import InstanceState
from headway.sim.serving.lanes import LaneMachine
from headway.sim.serving.machine import Machine
from headway.sim.serving.tune_machine import TuneMachine
from headway.sim.serving.tuning import Tuning

Make = Callable[[type[Machine], InstanceState], Machine]
"""Makes a machine of a kind for an instance."""


class Machines:
    """One machine per instance.

    Parameters
    ----------
    tuning : Tuning or None
        What their steps may carry; without it they are of the plain kind, which is quicker.

    Attributes
    ----------
    of : dict of str to Machine
        By instance.
    all : list of Machine
        The same, to be gone through.
    """

    def __init__(self, tuning: Tuning | None) -> None:
        self._tuning = tuning
        self._make: Make | None = None
        self.of: dict[Id, Machine] = {}
        self.all: list[Machine] = []

    def fill(self, instances: Iterable[InstanceState], make: Make) -> None:
        """Make a machine of a kind for each of all the instances that there can be."""
        self._make = make
        self.of.update({instance.id: self._made(instance) for instance in instances})
        self.all = list(self.of.values())

    def _made(self, instance: InstanceState) -> Machine:
        assert self._make is not None
        if instance.num_lanes > 1:
            return self._make(LaneMachine, instance)
        if self._tuning is None:
            return self._make(Machine, instance)
        made = self._make(TuneMachine, instance)
        assert isinstance(made, TuneMachine)
        made.tuning = self._tuning
        return made

    def change_lanes(self, name: Id) -> None:
        """Let an instance, idle now, run its steps in as many lanes as it has."""
        before = self.of[name]
        if isinstance(before, LaneMachine) != (before.instance.num_lanes > 1):
            self.of[name] = after = self._made(before.instance)
            after.take_over(before)
            self.all = list(self.of.values())

    def busy_s(self) -> dict[Id, Seconds]:
        """Return the time that each has spent computing, in seconds."""
        return {name: machine.busy_s for name, machine in self.of.items()}

    # What others ask of one of them ----------------------------------------------------------------------------------

    def settle(self, name: Id, happening: Callable[[], Event | None]) -> Iterator[Event]:
        """Let something happen at the end of its present step, or now when there is none."""
        return self.of[name].settle(happening)

    def replan(self, name: Id) -> None:
        """Let it see that what it repeats costs something else now, if it is there."""
        if name in self.of:
            self.of[name].replan()

    def run_s(self, name: Id) -> Seconds:
        """Return how long its latest run of a step takes."""
        return self.of[name].run_s
