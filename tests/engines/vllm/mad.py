"""Policies that do whatever they like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from headway.core.actions import Action, Move, Preempt, Reject, Start, Wake
from headway.core.events import Event, Refused
from headway.engines.vllm.host import INSTANCE
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Piece, Pin, Step, Unpin
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState

Answer = Callable[[Event, ServingBoard], Iterable[Any]]


class Answering:
    """Answers every event as it was told to, and otherwise serves as `serving/sarathi` does, if at all."""

    def __init__(self, answer: Answer, *, serves: bool = False) -> None:
        self._answer = answer
        self._sane = Stack(batch=SarathiServe()) if serves else None

    def reset(self, rng: np.random.Generator) -> None:
        if self._sane is not None:
            self._sane.reset(rng)

    def decide(self, event: Event, view: ServingBoard) -> Iterator[Any]:
        yield from self._answer(event, view)
        if self._sane is not None:
            yield from self._sane.decide(event, view)


class Dice:
    """Decides by dice alone: who starts with how much memory, who is preempted, how many tokens of whom are computed.

    Parameters
    ----------
    seed : int
        Of the dice.
    wild_frac : float
        The share of numbers that are drawn without a look at what is possible.
    pins : bool
        Whether memory is pinned now and then.
    """

    def __init__(self, seed: int, wild_frac: float = 0.0, pins: bool = False) -> None:
        self._seed = seed
        self._wild_frac = wild_frac
        self._pins = pins

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = np.random.default_rng(self._seed)
        self._wakes_s = -1.0

    def decide(self, event: Event, view: ServingBoard) -> Iterator[Action]:
        if isinstance(event, Refused):  # whoever answers each of these with what is refused again is soon not told
            return
        instance = view.instances[INSTANCE]
        yield from [Move(name, INSTANCE) for name in view.unrouted if self._hits(0.8)]
        if self._pins:
            yield from self._pin(view, instance)
        if self._hits(0.1):
            yield from [Preempt(name) for name in instance.running if self._hits(0.3)]
        yield from [start for state in list(instance.waiting.values()) if (start := self._start(state)) is not None]
        yield self._step(instance)  # behind what was asked for before, which has been done by now
        if self._wakes_s <= view.now_s:
            self._wakes_s = view.now_s + 0.01 * self._rng.random()
            yield Wake(self._wakes_s)

    def _hits(self, chance: float) -> bool:
        return bool(self._rng.random() < chance)

    def _pin(self, view: ServingBoard, instance: InstanceState) -> Iterator[Action]:
        if self._hits(0.1):
            yield from [Pin(id=name, owner=f"o{len(name) % 2}") for name in view.requests if self._hits(0.3)]
        if self._hits(0.3):
            yield from [Unpin(owner=owner, instance=INSTANCE) for owner in list(instance.kv.pins)]

    def _start(self, state: RequestState) -> Start | None:
        if not self._hits(0.6):
            return None
        tokens = int(self._rng.integers(1, 2 * state.known_tokens)) if self._hits(0.3) else state.known_tokens
        return Start(state.id, {INSTANCE: {"kv_tokens": tokens}})

    def _step(self, instance: InstanceState) -> Step:
        if instance.decodes and self._hits(0.3):
            return Step(instance=INSTANCE, pieces=tuple(instance.decodes.pieces), repeat=int(self._rng.integers(1, 9)))
        chosen = [state for state in instance.running.values() if self._hits(0.8)]
        return Step(instance=INSTANCE, pieces=tuple([Piece(state.id, self._tokens(state)) for state in chosen]))

    def _tokens(self, state: RequestState) -> int:
        if self._hits(self._wild_frac):
            return int(self._rng.integers(-2, 200))
        return int(self._rng.integers(1, state.left_tokens + 1)) if self._hits(0.5) else state.left_tokens


def reject_all(event: Event, view: ServingBoard) -> Iterator[Action]:
    """Turn everybody away."""
    yield from [Reject(name, "nobody is served here", 3.0) for name in list(view.requests)]
