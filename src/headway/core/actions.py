"""What a policy may ask for: the tagged structs an executor carries out.

A family adds its own by subclassing. Each action names what it is about in a field that `subject` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from headway.core.nouns import Amounts, Id, Seconds


class Action(Struct, frozen=True, tag=True, gc=False):
    """Something a policy asks for."""

    @property
    def subject(self) -> Id:
        """What the action is about: the id of a work, a resource or a knob."""
        return ""


class Start(Action, frozen=True, gc=False):
    """Run the work `id` on the given resources, with these amounts of each; several resources make a gang."""

    id: Id
    on: Mapping[Id, Amounts]

    @property
    def subject(self) -> Id:
        """The work's id."""
        return self.id


class Preempt(Action, frozen=True, gc=False):
    """Stop the running work `id`.

    `how` is ``"requeue"`` (progress is lost, work waits again), ``"pause"`` (progress stays, memory is kept) or
    ``"swap"`` (progress stays, memory goes elsewhere).
    """

    id: Id
    how: Literal["requeue", "pause", "swap"] = "requeue"

    @property
    def subject(self) -> Id:
        """The work's id."""
        return self.id


class Reject(Action, frozen=True, gc=False):
    """Refuse the waiting work `id` for good; `why` is shown to whoever sent it.

    Parameters
    ----------
    id : str
        The work.
    why : str
        For its sender.
    retry_after_s : float or None
        In how many seconds its sender may try again, >= 0; None when that would not help.
    """

    id: Id
    why: str
    retry_after_s: Seconds | None = None

    @property
    def subject(self) -> Id:
        """The work's id."""
        return self.id


class Move(Action, frozen=True, gc=False):
    """Bring `what` (work, data, a cached block, a replica of a model) to the resource `to`."""

    what: Id
    to: Id

    @property
    def subject(self) -> Id:
        """What is moved."""
        return self.what


class Set(Action, frozen=True, gc=False):
    """Turn a knob (a learning rate, a frequency, a number of replicas) of the resource `of` to `value`."""

    knob: str
    value: float
    of: Id = ""

    @property
    def subject(self) -> Id:
        """The resource whose knob it is, or the knob when it belongs to none."""
        return self.of or self.knob


class Wake(Action, frozen=True, gc=False):
    """Ask for a `Woke` event at `at_s`; the only way a policy asks for time."""

    at_s: Seconds
    tag: str = ""

    @property
    def subject(self) -> Id:
        """The tag that comes back."""
        return self.tag
