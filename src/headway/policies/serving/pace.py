"""How long steps take, learnt from those that were run.

A schedule against deadlines needs the time of a step before it is run. A `Pace` knows nothing but what every policy
can see: which steps were asked for, and how long each took. So it works alike in every world and on every engine.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headway.core.nouns import Id, Seconds
from headway.numerics.relative import RelativeFit
from headway.policies.serving.nouns import Step, StepDone
from headway.policies.serving.state import InstanceState, RequestState

KNEES = (128, 512)
"""Tokens at which the slope of the time may change: below them steps wait for memory, above for arithmetic."""
PRIOR_S = (5e-3, 2e-5, 2e-5, 4e-5, 2e-9, 2e-9, 1e-3)
"""Seconds per step, per token, per token above each knee, per token of context, per pair of a prompt's tokens, per pass
of a draft model: an assumption of the order of a 7 B model on one large GPU. It is worth `PRIOR_STEPS` steps."""
PRIOR_STEPS = 0.1
FORGET = 0.998
"""What a step's weight is multiplied by with each later one."""
UNITS = (1.0, 100.0, 100.0, 500.0, 5e4, 5e5, 1.0)
"""In which the features are about 1."""


class Shape(NamedTuple):
    """What a step computes, as far as its time depends on it.

    Parameters
    ----------
    num_decodes : int
        Requests that get one more token, >= 0.
    context_tokens : int
        Tokens in memory that these attend to, in total, >= 0.
    prefill_tokens : int
        Tokens of prompts, >= 0.
    prefill_pairs : float
        Pairs of tokens of prompts that attend to each other: over all chunks, tokens x (context + tokens / 2).
    drafted_tokens : int
        Tokens that are drafted for decodes and checked beside theirs, in total, >= 0.
    draft_passes : int
        The most that are drafted for one of them, >= 0.
    """

    num_decodes: int
    context_tokens: int
    prefill_tokens: int = 0
    prefill_pairs: float = 0.0
    drafted_tokens: int = 0
    draft_passes: int = 0

    def cut_to(self, num_tokens: int) -> Shape:
        """Return what is left of it where the engine has computed so many tokens at most: less of its prompts."""
        left = max(0, num_tokens - self.num_decodes)
        if self.drafted_tokens or left >= self.prefill_tokens:
            return self
        mean_context = self.prefill_pairs / self.prefill_tokens - self.prefill_tokens / 2  # of one chunk
        both = max(pairs(left, mean_context), self.prefill_pairs * (left / self.prefill_tokens) ** 2)
        return self._replace(prefill_tokens=left, prefill_pairs=both)

    def features(self) -> NDArray[np.float64]:
        """Return what the time is taken to be linear in, `[7]`."""
        tokens = self.num_decodes + self.drafted_tokens + self.prefill_tokens
        above = [max(0, tokens - knee) for knee in KNEES]
        return np.array([1.0, tokens, *above, self.context_tokens, self.prefill_pairs, self.draft_passes])


def pairs(tokens: int, context_tokens: float) -> float:
    """Return the pairs of tokens of one chunk of a prompt."""
    return tokens * (context_tokens + tokens / 2)


class Pace:
    """Learns the times of steps, for each pool of instances by itself.

    The time is taken to be linear in the features of a `Shape`, with a slope that may change at `KNEES`; least
    squares over relative errors, in which older steps count less.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._fits: dict[str, RelativeFit] = {}
        self._under_way: dict[Id, deque[tuple[str, Shape]]] = {}

    def step_s(self, instance: InstanceState, shape: Shape) -> Seconds:
        """Return how long a step of an instance will take, in seconds, > 0."""
        return self._fit(instance.pool).predict(shape.features())

    def marginal_s(self, instance: InstanceState) -> tuple[Seconds, ...]:
        """Return the slopes of the time, one per feature of a `Shape`, in seconds."""
        return tuple(self._fit(instance.pool).weights.tolist())

    def num_steps(self, instance: InstanceState) -> int:
        """Return how many steps it has learnt from."""
        return self._fit(instance.pool).num_seen

    def start_s(self, instance: InstanceState, now_s: Seconds) -> Seconds:
        """Return when a step that is asked for now will begin, in seconds since the start of the run.

        That is now, except on an engine that asks while the step before is computed.
        """
        noted = self._under_way.get(instance.id)
        if not noted or instance.num_stages > 1 or instance.num_lanes > 1:
            return now_s
        return now_s + sum(self._fit(pool).predict(shape.features()) for pool, shape in noted)

    def note(self, instance: InstanceState, step: Step) -> None:
        """Note what a step that is about to begin computes."""
        if step.share == 1.0 and not step.tune and instance.num_lanes == 1:
            self._under_way.setdefault(instance.id, deque()).append((instance.pool, shape_of(instance, step)))

    def hear(self, event: StepDone) -> None:
        """Learn from a step that is over."""
        noted = self._under_way.get(event.instance)
        if not noted:
            return
        pool, shape = noted.popleft()
        if event.num_runs > 1:  # the context grows with every run
            grown = shape.num_decodes * (event.num_runs - 1) // 2
            shape = shape._replace(context_tokens=shape.context_tokens + grown)
        elif event.num_runs == 1:
            shape = shape.cut_to(event.num_tokens)
        took_s = event.step_s if event.pieces_s is None else event.pieces_s
        if took_s > 0:
            self._fit(pool).learn(shape.features(), took_s / event.num_runs)

    def take_back(self, instance: Id) -> None:
        """Note that the latest step of an instance was refused."""
        noted = self._under_way.get(instance)
        if noted:
            noted.pop()

    def forget_steps(self, instance: Id) -> None:
        """Note that what an instance was computing is lost."""
        self._under_way.pop(instance, None)

    def _fit(self, pool: str) -> RelativeFit:
        fit = self._fits.get(pool)
        if fit is None:
            fit = self._fits[pool] = RelativeFit(PRIOR_S, UNITS, prior_weight=PRIOR_STEPS, forget=FORGET)
        return fit


def shape_of(instance: InstanceState, step: Step) -> Shape:
    """Return what one run of a step computes."""
    decodes = instance.decodes
    drafts = step.speculate.values()
    drafted, passes = (sum(drafts), max(drafts)) if drafts else (0, 0)
    if step.pieces is decodes.pieces:
        return Shape(len(decodes), decodes.context_tokens, drafted_tokens=drafted, draft_passes=passes)
    num_decodes = context = tokens = 0
    both = 0.0
    for piece in step.pieces:
        state = instance.running.get(piece.request) or instance.waiting.get(piece.request)
        if state is None:
            continue
        if state.decoding:
            num_decodes += 1
            context += state.computed_tokens
        else:
            first, last = piece.layers or (0, instance.num_layers)
            frac = (last - first) / instance.num_layers
            tokens += round(piece.tokens * frac)
            both += pairs(piece.tokens, _computed(instance, state)) * frac
    return Shape(num_decodes, context, tokens, both, drafted, passes)


def _computed(instance: InstanceState, state: RequestState) -> int:
    """Return how many tokens of a request are computed before the step, those that it will find in the cache too."""
    if state.id in instance.running or not state.hashes:
        return state.computed_tokens
    kv = instance.kv
    hashes = state.hashes[: (state.known_tokens - 1) // kv.block_size]
    num_found = len(kv.match(hashes))
    return (num_found + kv.num_beyond(hashes, num_found)) * kv.block_size
