"""Policies that let steps carry fine-tuning, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
from msgspec.structs import replace

from headway.core.actions import Action, Move, Set, Wake
from headway.core.events import Event, Refused
from headway.core.nouns import Id
from headway.policies.serving.jobs import TUNE_BLOCKS, JobState
from headway.policies.serving.nouns import Step, TuneUnit
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack


class Always:
    """Lets every step carry so many layers of the first job with some share of the compute, and idle time, too."""

    def __init__(self, *, num_layers: int = 2, num_units: int = 1, share: float = 1.0, fused: bool = False) -> None:
        self.stack = Stack(batch=SarathiServe(token_budget=64))
        self.num_layers, self.num_units, self.share, self.fused = num_layers, num_units, share, fused

    def reset(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.stack.reset(rng)

    def decide(self, event: Event, view: ServingView) -> Iterator[Action]:
        for state in view.jobs.values():
            if not state.instance and view.instances:
                name = next(iter(view.instances))
                yield from (Move(state.id, name), Set(TUNE_BLOCKS, state.job.kv_blocks, of=name))
                yield Wake(view.now_s, "form")
        formed = set[Id]()
        for action in self.stack.decide(event, view):
            if isinstance(action, Step):
                formed.add(action.instance)
                units = self.units(action.instance, view)
                if units:
                    action = self.carried(action, units)
            yield action
        if not isinstance(event, Refused):
            yield from self.alone(formed, view)

    def units(self, instance: Id, view: ServingView) -> tuple[TuneUnit, ...]:
        for state in view.jobs.values():
            if state.instance == instance and self.has_room(state, view):
                return tuple(itertools.islice(state.coming(self.num_layers), self.num_units))
        return ()

    def has_room(self, state: JobState, view: ServingView) -> bool:
        return len(view.instances[state.instance].tune_blocks) >= state.job.kv_blocks

    def carried(self, step: Step, units: tuple[TuneUnit, ...]) -> Step:
        return replace(step, repeat=1, tune=units, share=self.share, fused=self.fused)

    def alone(self, formed: set[Id], view: ServingView) -> Iterable[Action]:
        for name, instance in view.instances.items():
            units = self.units(name, view)
            if not instance.busy and name not in formed and not instance.num_requests and units:
                yield Step(instance=name, pieces=(), tune=units)


class Rash(Always):
    """Does all of that at random, and lends and takes back memory whenever it likes."""

    def decide(self, event: Event, view: ServingView) -> Iterator[Action]:
        for state in view.jobs.values():
            if not state.instance or (self.rng.random() < 0.05 and state.is_between):
                if view.instances:
                    yield Move(state.id, str(self.rng.choice(list(view.instances))))
                    yield Wake(view.now_s, "form")
            elif not view.instances[state.instance].busy and self.rng.random() < 0.2:
                blocks = int(self.rng.integers(0, 2 * state.job.kv_blocks + 1))
                yield Set(TUNE_BLOCKS, blocks if self.rng.random() < 0.3 else state.job.kv_blocks, of=state.instance)
        if view.jobs:
            yield Wake(0.0625 * (1 + view.now_s // 0.0625), "again")  # a grid that floats can hold
        else:  # what stays lent when the last job is done can keep a long prompt out for ever
            yield from self.take_back(view)
        yield from super().decide(event, view)

    def take_back(self, view: ServingView) -> Iterator[Action]:
        for name, instance in view.instances.items():
            if instance.tune_blocks and not instance.busy:
                yield Set(TUNE_BLOCKS, 0, of=name)
                yield Wake(view.now_s, "form")

    def units(self, instance: Id, view: ServingView) -> tuple[TuneUnit, ...]:
        self.num_layers, self.num_units = int(self.rng.integers(1, 10)), int(self.rng.integers(1, 6))
        if self.rng.random() < 0.1:  # out of turn now and then
            return (TuneUnit("tune", 0, (0, 8), "backward"),)
        return super().units(instance, view)

    def carried(self, step: Step, units: tuple[TuneUnit, ...]) -> Step:
        share = float(self.rng.choice([1.0, 0.8, 0.5, 0.2]))
        return replace(step, repeat=1, tune=units, share=share, fused=share == 1 and bool(self.rng.random() < 0.5))
