"""What a policy may see, and the `Board` on which worlds and engines keep it.

`Board` is the visible state of families whose work occupies amounts of resources from start to finish. A family with a
richer state (serving has instances, steps and KV memory) keeps its own board to the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from headway.core.actions import Action, Preempt, Reject, Start
from headway.core.nouns import Amounts, Id, Resource, Seconds, Work

SLACK = 1e-9
"""Amounts are floats: a need may exceed what is free by this much."""


class View(Protocol):
    """The least every view offers; each family extends it."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """All resources that are up, by id."""


class Draft:
    """A tentative overlay on a board, so that several actions of one decision account for each other.

    Examples
    --------
    >>> board = Board([Resource(id="m", kind="machine", capacity={"slot": 1.0})])
    >>> for n in "ab":
    ...     board.add(Work(id=n, kind="job", arrival_s=0.0, needs={"slot": 1.0}))
    >>> draft = board.draft()
    >>> [draft.start(work.id, "m") for work in board.waiting.values()]
    [True, False]
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._free: dict[Id, dict[str, float]] = {}
        self.actions: list[Action] = []

    def free(self, resource: Id) -> Amounts:
        """What is left of each kind on `resource` after the actions drafted so far."""
        return self._free.get(resource) or self._board.free(resource)

    def fits(self, work: Work, resource: Id) -> bool:
        """Whether the needs of `work` are free on `resource` now."""
        free = self.free(resource)
        return all(free.get(kind, 0.0) + SLACK >= amount for kind, amount in work.needs.items())

    def start(self, work: Id, resource: Id) -> bool:
        """Draft a `Start` of `work` on one resource if it fits; says whether it did."""
        needs = self._board.waiting[work].needs
        if not self.fits(self._board.waiting[work], resource):
            return False
        left = dict(self.free(resource))
        for kind, amount in needs.items():
            left[kind] = left.get(kind, 0.0) - amount
        self._free[resource] = left
        self.actions.append(Start(work, {resource: needs}))
        return True


class Board:
    """Visible state: what waits, what runs, what is free. Executors write it, policies read it.

    Parameters
    ----------
    resources : iterable of Resource
        What work can run on at the start.
    """

    def __init__(self, resources: list[Resource]) -> None:
        self.now_s: Seconds = 0.0
        self._resources = {resource.id: resource for resource in resources}
        self._free = {resource.id: dict(resource.capacity) for resource in resources}
        self._waiting: dict[Id, Work] = {}
        self._running: dict[Id, Start] = {}
        self._work: dict[Id, Work] = {}
        self.resources: Mapping[Id, Resource] = MappingProxyType(self._resources)
        self.waiting: Mapping[Id, Work] = MappingProxyType(self._waiting)
        self.running: Mapping[Id, Start] = MappingProxyType(self._running)

    def free(self, resource: Id) -> Amounts:
        """What is free of each kind on `resource`."""
        return self._free[resource]

    def draft(self) -> Draft:
        """Open a tentative overlay for one decision."""
        return Draft(self)

    def add(self, work: Work) -> None:
        """Let `work` wait."""
        self._waiting[work.id] = self._work[work.id] = work

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Start):
            return self._start(action)
        if isinstance(action, Preempt):
            return self._preempt(action)
        if isinstance(action, Reject):
            return self._reject(action)
        return f"this board does not know {type(action).__name__}"

    def finish(self, work: Id) -> None:
        """Give back what the running `work` holds and forget it."""
        self._release(self._running.pop(work))
        del self._work[work]

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes; contract checks compare it."""
        free = tuple((name, tuple(sorted(amounts.items()))) for name, amounts in self._free.items())
        return hash((self.now_s, tuple(self._waiting), tuple(self._running), free))

    def _start(self, action: Start) -> str | None:
        if action.id not in self._waiting:
            return "it is not waiting"
        for resource, amounts in action.on.items():
            if (why := self._lacks(resource, amounts)) is not None:
                return why
        for resource, amounts in action.on.items():
            for kind, amount in amounts.items():
                self._free[resource][kind] = self._free[resource].get(kind, 0.0) - amount
        self._running[action.id] = action
        del self._waiting[action.id]
        return None

    def _lacks(self, resource: Id, amounts: Amounts) -> str | None:
        free = self._free.get(resource)
        if free is None:
            return f"there is no resource {resource!r}"
        for kind, amount in amounts.items():
            if not amount >= 0:
                return f"amounts must be >= 0, {amount:g} {kind} asked for"
            if free.get(kind, 0.0) + SLACK < amount:
                return f"{resource} has {free.get(kind, 0.0):g} {kind} free, {amount:g} asked for"
        return None

    def _reject(self, action: Reject) -> str | None:
        if self._waiting.pop(action.id, None) is None:
            return "it is not waiting"
        del self._work[action.id]
        return None

    def _preempt(self, action: Preempt) -> str | None:
        if action.how != "requeue":
            return f"this board cannot {action.how}"
        start = self._running.pop(action.id, None)
        if start is None:
            return "it is not running"
        self._release(start)
        self._waiting[action.id] = self._work[action.id]
        return None

    def _release(self, start: Start) -> None:
        for resource, amounts in start.on.items():
            for kind, amount in amounts.items():
                self._free[resource][kind] += amount
