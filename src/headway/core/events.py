"""What happens: the tagged structs a policy is told.

A family adds its own by subclassing; the tag (the class name) is what a trace file carries.
"""

from __future__ import annotations

from msgspec import Struct

from headway.core.nouns import Id, Resource, Seconds, Work


class Event(Struct, frozen=True, tag=True, gc=False, kw_only=True):
    """Something that happened at `at_s`, in seconds since the start of the run."""

    at_s: Seconds


class Arrived(Event, frozen=True, gc=False, kw_only=True):
    """`work` is here and waits for a decision."""

    work: Work


class Started(Event, frozen=True, gc=False, kw_only=True):
    """The work `id` began to run."""

    id: Id


class Progressed(Event, frozen=True, gc=False, kw_only=True):
    """The work `id` reached `done`, in the family's unit of size."""

    id: Id
    done: float


class Finished(Event, frozen=True, gc=False, kw_only=True):
    """The work `id` is complete."""

    id: Id


class Failed(Event, frozen=True, gc=False, kw_only=True):
    """The work `id` stopped without completing; `why` says the reason."""

    id: Id
    why: str


class Changed(Event, frozen=True, gc=False, kw_only=True):
    """`resource` is now as given; `up` says whether it can be used."""

    resource: Resource
    up: bool


class Woke(Event, frozen=True, gc=False, kw_only=True):
    """The time asked for by a `Wake` with this `tag` has come."""

    tag: str = ""


class Refused(Event, frozen=True, gc=False, kw_only=True):
    """An action could not be carried out and changed nothing.

    `action` is the action's tag (its class name), `id` what it was about, `why` the reason in one clause.
    """

    action: str
    id: Id
    why: str
