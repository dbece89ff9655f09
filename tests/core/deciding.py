"""Policies, events and a world of a few lines, for tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event, Finished
from headway.core.view import Board, View


class Says:
    """Answers every event with what a function says, and keeps what it heard."""

    def __init__(self, answer: Callable[[Event], Iterable[Action]] = lambda _: ()) -> None:
        self.answer = answer
        self.num_resets = 0

    def reset(self, rng: np.random.Generator) -> None:
        self.num_resets += 1
        self.draw = int(rng.integers(1 << 30))
        self.heard: list[Event] = []

    def decide(self, event: Event, view: View) -> Iterable[Action]:
        self.heard.append(event)
        return self.answer(event)


class Replays:
    """A world that plays the events it was given, and takes actions unless `refuses` says why not."""

    def __init__(self, events: Sequence[Event], refuses: Callable[[Action], str | None] = lambda _: None) -> None:
        self.view = Board([])
        self.taken: list[Action] = []
        self._events = list(events)
        self._refuses = refuses

    def next(self) -> Event | None:
        return self._events.pop(0) if self._events else None

    def apply(self, action: Action) -> str | None:
        why = self._refuses(action)
        if why is None:
            self.taken.append(action)
        return why


def ticks(num: int) -> list[Finished]:
    return [Finished(at_s=float(n), id=f"w{n}") for n in range(num)]


def raises(error: Exception) -> Callable[[Any], Any]:
    def fail(_: Any) -> Any:
        raise error

    return fail
