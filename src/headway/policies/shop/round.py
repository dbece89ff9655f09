"""The starts of one decision in a shop."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TypeAlias

from headway.core.actions import Action, Start
from headway.core.nouns import Id
from headway.policies.shop.board import ShopView
from headway.policies.shop.nouns import SLOT
from headway.policies.shop.seats_dispatch import Ready, Rule
from headway.policies.shop.states import READY, MachineState

Entry: TypeAlias = tuple[float | tuple[float, ...], int, int, Ready]
"""A key, the tie-break, a number that is never the same, and the task in one of its modes."""


class Round:
    """The starts of one decision, which account for each other."""

    __slots__ = ("_tasks", "_used", "_view", "actions", "taken")

    def __init__(self, view: ShopView) -> None:
        self._view = view
        self._tasks = view.tasks
        self.taken: set[Id] = set()
        self._used: dict[Id, int] = {}
        self.actions: list[Action] = []

    def pop(self, heaps: Mapping[Id, list[Entry]]) -> list[Action]:
        """Start on each open machine what is first in its heap, and so on until nothing more fits."""
        for machine in self._open():
            heap = heaps.get(machine.id)
            if heap and self.has_room(machine):
                self._fill(machine, heap)
        return self.actions

    def _fill(self, machine: MachineState, heap: list[Entry]) -> None:
        """Start what is first in a heap until the machine is full; what does not fit stays in it."""
        left: list[Entry] = []
        is_alone = machine.capacity == 1
        while heap:
            entry = heapq.heappop(heap)
            option = entry[3]
            state = self._tasks.get(option.task)
            # An option of an earlier time at which the task was ready is not one of now.
            if state is None or state.status != READY or state.options[option.mode] is not option:
                continue
            if option.task in self.taken:
                continue
            if (is_alone and len(option.on) == 1) or self.fits(option, machine):
                self.start(option)
                if is_alone or not self.has_room(machine):
                    break
            else:
                left.append(entry)
        for entry in left:
            heapq.heappush(heap, entry)

    def scan(self, rule: Rule, look: object) -> list[Action]:
        """Start on each open machine what has the lowest key now, and so on until nothing more fits."""
        now_s = self._view.now_s
        for machine in self._open():
            queue = [option for option in machine.queue.values() if option.task not in self.taken]
            if callable(look):
                look(queue, now_s)
            keyed = [(rule.key(option, now_s), option.number, option.mode, option) for option in queue]
            for _, _, _, option in sorted(keyed) if len(keyed) > 1 else keyed:
                if not self.has_room(machine):
                    break
                if option.task not in self.taken and self.fits(option, machine):
                    self.start(option)
        return self.actions

    def _open(self) -> list[MachineState]:
        """Return the open machines in their order, whichever of them was open first."""
        found = list(self._view.open.values())
        if len(found) > 1:
            found.sort(key=_place)
        return found

    def has_room(self, machine: MachineState) -> bool:
        """Whether a machine is not full yet."""
        if machine.place < 0:
            return True
        return machine.free > (self._used.get(machine.id, 0) if self._used else 0)

    def fits(self, option: Ready, machine: MachineState) -> bool:
        """Whether a task could begin beside what this decision starts, given that its machine has room."""
        if len(option.on) == 1 and machine.capacity == 1:
            return True
        if not self._view.fits(option):
            return False
        machines, used = self._view.machines, self._used
        return all(machines[name].free - used.get(name, 0) >= amounts[SLOT] for name, amounts in option.on.items())

    def start(self, option: Ready) -> None:
        """Start a task."""
        self.taken.add(option.task)
        used = self._used
        for name, amounts in option.on.items():
            used[name] = used.get(name, 0) + int(amounts[SLOT])
        self.actions.append(Start(option.task, option.on))


def _place(machine: MachineState) -> int:
    return machine.place
