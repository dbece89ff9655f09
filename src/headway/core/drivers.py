"""The two drivers: `simulate` in virtual time and `serve` in real time. There is no third loop.

Where the loop is somebody else's, whose executor is called by it, that executor hands each event over by `tell`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol, TypeVar

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.policy import Policy
from headway.core.report import Report
from headway.core.session import MAX_REFUSALS_PER_EVENT, Session
from headway.core.view import View

V = TypeVar("V", bound=View)
V_co = TypeVar("V_co", bound=View, covariant=True)


class World(Protocol[V_co]):
    """An executor in virtual time; it alone knows the hidden truth."""

    @property
    def view(self) -> V_co:
        """What policies may see."""

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""


class Engine(Protocol[V_co]):
    """An executor in real time, with the same view."""

    @property
    def view(self) -> V_co:
        """What policies may see."""

    def events(self) -> AsyncIterator[Event]:
        """Yield events as they happen, until the engine is drained."""

    async def apply(self, action: Action) -> str | None:
        """Begin to carry out an action; returns why not, having changed nothing, when it cannot be."""


def tell(session: Session[V], event: Event, apply: Callable[[Action], str | None]) -> None:
    """Give an event to a session, carry out the answer, and tell of what was refused until that is answered, too."""
    todo, num_refused = deque([event]), 0
    while todo:
        for action in session.feed(todo.popleft()):
            why = apply(action)
            if why is not None:
                refused = session.refuse(action, why, event.at_s)
                num_refused += 1
                if num_refused <= MAX_REFUSALS_PER_EVENT:
                    todo.append(refused)


def simulate(world: World[V], policy: Policy[V], *, seed: int = 0, session: Session[V] | None = None) -> Report:
    """Run a world to its end under a policy, in virtual time.

    Parameters
    ----------
    world : World
        What executes.
    policy : Policy
        Who decides; ignored when a `session` is given.
    seed : int
        Of the run.
    session : Session or None
        A session prepared with accounts, instruments or a trace; a plain one is made by default.

    Returns
    -------
    Report
        What the run came to.
    """
    session = session or Session(policy, world.view, seed=seed)
    if hasattr(policy, "foretell") and hasattr(world, "foretell"):
        policy.foretell(world.foretell)  # policies that may know the truth say so by having this method
    try:
        while (event := world.next()) is not None:
            tell(session, event, world.apply)
    finally:
        report = session.close()  # a run that fails leaves its trace, too
    return report


async def serve(engine: Engine[V], policy: Policy[V], *, seed: int = 0, session: Session[V] | None = None) -> Report:
    """Run an engine until it is drained under a policy, in real time.

    The parameters and the result are those of `simulate`, with an engine in the place of the world.
    """
    session = session or Session(policy, engine.view, seed=seed)
    try:
        async for event in engine.events():
            todo, num_refused = deque([event]), 0
            while todo:
                for action in session.feed(todo.popleft()):
                    why = await engine.apply(action)
                    if why is not None:
                        refused = session.refuse(action, why, event.at_s)
                        num_refused += 1
                        if num_refused <= MAX_REFUSALS_PER_EVENT:
                            todo.append(refused)
    finally:
        report = session.close()
    return report
