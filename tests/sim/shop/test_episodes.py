"""A world played by a policy that asks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from headway.core.actions import Action, Start
from headway.core.events import Arrived, Event, Finished, Refused
from headway.core.learning import Asking, Question, answered
from headway.core.nouns import Resource, Work
from headway.core.view import Board
from headway.sim.shop.episodes import episode


class Bench:
    """A world in which work of three kinds takes 1, 2 and 3 s on one machine, one at a time."""

    def __init__(self, num_refusals: int = 0) -> None:
        self.view = Board([Resource(id="bench", kind="machine", capacity={"slot": 1.0})])
        self.num_refusals = num_refusals
        self._arrivals = [Work(id=str(n), kind="job", arrival_s=0.0, needs={"slot": 1.0}) for n in (3, 1, 2)]
        self.done_s: list[float] = []

    def next(self) -> Event | None:
        if self._arrivals:
            work = self._arrivals.pop(0)
            self.view.add(work)
            return Arrived(at_s=0.0, work=work)
        for name in self.view.running:
            self.view.now_s += float(name)
            self.view.finish(name)
            self.done_s.append(self.view.now_s)
            return Finished(at_s=self.view.now_s, id=name)
        return None

    def apply(self, action: Action) -> str | None:
        if self.num_refusals:
            self.num_refusals -= 1
            return "not now"
        return self.view.apply(action)


class Asker:
    """Asks which work is next as soon as all three are there and the bench is free."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def reset(self, rng: np.random.Generator) -> None:
        self.heard = []

    def ask(self, event: Event, view: Board) -> Asking[Iterable[Action]]:
        self.heard.append(event)
        if isinstance(event, Arrived) and event.work.id != "2":
            return []
        if view.running or not view.waiting:
            return []
        legal = np.array([str(n) in view.waiting for n in range(4)])
        chosen = yield Question({"waiting": legal.astype(float)}, legal)
        return [Start(str(chosen), {"bench": {"slot": 1.0}})]


def finished(world: Bench) -> float:
    return -sum(world.done_s)


@pytest.mark.parametrize("num_refusals", [0, 2])
def test_rewards_are_what_came_in_between_questions(num_refusals: int) -> None:
    rewards: list[float] = []

    def shortest(question: Question) -> int:
        rewards.append(question.reward)
        return int(np.argmax(question.legal))

    policy, world = Asker(), Bench(num_refusals)
    last = answered(episode(world, policy, finished), shortest)
    assert rewards == [0.0] * (1 + num_refusals) + [-1.0, -3.0]
    assert last == -6.0
    assert world.done_s == [1.0, 3.0, 6.0]
    assert sum(isinstance(event, Refused) for event in policy.heard) == num_refusals


def test_an_endless_refusal_ends() -> None:
    world = Bench(num_refusals=10**9)
    assert answered(episode(world, Asker(), finished), lambda question: int(np.argmax(question.legal))) == 0.0
