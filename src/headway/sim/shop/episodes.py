"""A world played by a policy whose choices somebody else makes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Any, Protocol, TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.actions import Action
from headway.core.drivers import World
from headway.core.events import Event, Refused
from headway.core.learning import Asking, Question
from headway.core.session import MAX_REFUSALS_PER_EVENT, policy_stream
from headway.core.view import View

V = TypeVar("V", bound=View)
V_contra = TypeVar("V_contra", bound=View, contravariant=True)
W = TypeVar("W", bound=World[Any])
Decision = Asking[Iterable[Action]]


class AskingPolicy(Protocol[V_contra]):
    """A policy that puts its choices as questions."""

    def reset(self, rng: np.random.Generator) -> None:
        """Forget everything learnt so far; keep `rng` for all later randomness."""

    def ask(self, event: Event, view: V_contra) -> Decision:
        """Answer one event with actions, by way of questions."""


def episode(world: W, policy: AskingPolicy[Any], reward: Callable[[W], float], *, seed: int = 0) -> Asking[float]:
    """Play a world to its end by a policy's `ask`, passing its questions on to whoever drives this generator.

    An action that the world refuses comes back to the policy as a `Refused` event, as in a session.

    Parameters
    ----------
    world : World
        What executes; it is played once.
    policy : AskingPolicy
        Who asks; it is reset first.
    reward : callable of (world) -> float
        All that has come in since the beginning, at the world's present; questions carry its growth since the question
        before, and the generator returns its growth since the last.
    seed : int
        Of the policy's own random stream; 0.

    Yields
    ------
    Question
        Those of the policy, with their rewards.
    """
    policy.reset(policy_stream(seed))
    told = reward(world)
    while (event := world.next()) is not None:
        todo, num_refused = deque([event]), 0
        while todo:
            event = todo.popleft()
            told, actions = yield from _rewarded(policy.ask(event, world.view), world, reward, told)
            for action in actions:
                why = world.apply(action)
                if why is not None and num_refused < MAX_REFUSALS_PER_EVENT:
                    num_refused += 1
                    todo.append(Refused(at_s=event.at_s, action=type(action).__name__, id=action.subject, why=why))
    return reward(world) - told


def _rewarded(
    decision: Decision, world: W, reward: Callable[[W], float], told: float
) -> Generator[Question, int, tuple[float, list[Action]]]:
    """Pass the questions of one decision on, each with what came in; returns the reward told of, and the actions."""
    try:
        question = next(decision)
        while True:
            before, told = told, reward(world)
            question = decision.send((yield replace(question, reward=told - before)))
    except StopIteration as end:
        return told, list(end.value)
