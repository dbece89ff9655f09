"""What Llumnix was compared with: turns, free memory, and ways to move a request that do not copy it while it runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from headway.core.actions import Action, Move, Preempt, Wake
from headway.core.events import Event, Woke
from headway.core.nouns import Id
from headway.policies.serving.llumnix_migration import Migrations
from headway.policies.serving.nouns import RequestArrived, StepDone
from headway.policies.serving.pools import takers
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState, RequestState


class RoundRobin:
    """Sends requests to the instances in turn."""

    def __init__(self) -> None:
        self._turn = 0

    def reset(self, rng: np.random.Generator) -> None:  # noqa: ARG002 (nothing is random)
        """Begin with the first."""
        self._turn = 0

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return whose turn it is."""
        able = takers(state, view.instances.values())
        self._turn += 1
        return able[(self._turn - 1) % len(able)].id


class MostFreeMemory:
    """Sends a request to where most memory is left once everybody who waits has had theirs: INFaaS++.

    Parameters
    ----------
    sees_queues : bool
        Whether those who wait are counted.
    """

    def __init__(self, *, sees_queues: bool = True) -> None:
        self.sees_queues = sees_queues

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return that instance."""
        return max(takers(state, view.instances.values()), key=self._free_blocks).id

    def _free_blocks(self, instance: InstanceState) -> int:
        kv, waiting = instance.kv, instance.waiting.values() if self.sees_queues else ()
        return kv.num_free - sum(kv.blocks_for(state.known_tokens) for state in waiting)


class MoveOnce:
    """Moves a lone request to another instance at a given time, in one of three ways.

    Parameters
    ----------
    how : str
        ``"live"``, in stages; ``"blocking"``, all of it while it pauses; ``"recompute"``, computing it again.
    at_s : float
        When, in seconds.
    """

    def __init__(self, how: Literal["live", "blocking", "recompute"], at_s: float) -> None:
        self.how = how
        self.at_s = at_s
        self._migrations = Migrations(max_stages=3, last_stage_blocks=16)
        self._is_time = False

    def reset(self, rng: np.random.Generator) -> None:  # noqa: ARG002 (nothing is random)
        """Wait for the time again."""
        self._migrations = Migrations(max_stages=3, last_stage_blocks=16)
        self._is_time = False

    def pick(self, state: RequestState, view: ServingView) -> Id:  # noqa: ARG002 (it is alone)
        """Return the first instance."""
        return next(iter(view.instances))

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Move it once the time has come, between two steps."""
        if isinstance(event, RequestArrived):
            return [Wake(self.at_s, "move")]
        if isinstance(event, Woke) and event.tag == "move":
            self._is_time = True
            (state,) = view.requests.values()
            return [self._migrations.begin(state, list(view.instances.values())[-1])] if self.how == "live" else []
        if self.how == "live":
            return list(self._migrations.hear(event, view))
        if isinstance(event, StepDone) and self._is_time:
            self._is_time = False
            (state,) = view.requests.values()
            return [Move(state.id, list(view.instances)[-1]) if self.how == "blocking" else Preempt(state.id)]
        return []
