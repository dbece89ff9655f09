"""What happens inside a contender's own process: warm up, then time decode windows and prefills.

Every contender is one method, `generate`, that says *when* each step was done. All figures are made from those moments
here, by the same lines for everyone. This file runs in the interpreters of the peers, so it leans on nothing.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

# The first steps after a prefill still touch cold memory; they are run and not counted.
SETTLE_STEPS = 2


@dataclass(frozen=True)
class Point:
    """One shape to time: `batch` sequences around `context` tokens, or (`batch` 0) the prefill of `context` tokens."""

    name: str
    batch: int
    context: int


@dataclass(frozen=True)
class Spec:
    """What a contender's process is told.

    Parameters
    ----------
    model : str
        Folder of the checkpoint.
    kind : str
        Number format of the weights, ``"bf16"`` or ``"int8"``.
    points : list of Point
        What to time, in order.
    threads : int
        How many threads it may use, >= 1.
    num_windows, window_steps : int
        How many decode windows to time after one prefill, and how many steps each has; both >= 1.
    vocab_size : int
        Prompts are drawn below it.
    round : int
        Which round this is; the seed of the prompts.
    cache : str
        A folder where converted checkpoints are kept between runs.
    options : dict
        What is particular to one contender.
    """

    model: str
    kind: str
    points: list[Point]
    threads: int
    num_windows: int
    window_steps: int
    vocab_size: int
    round: int
    cache: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def num_steps(self) -> int:
        """Decode steps after one prefill."""
        return SETTLE_STEPS + self.num_windows * self.window_steps

    @property
    def max_batch(self) -> int:
        """The most sequences at once."""
        return max((point.batch for point in self.points), default=1) or 1

    @property
    def max_tokens(self) -> int:
        """The longest sequence, with room for the steps."""
        return max(point.context for point in self.points) + self.num_steps + 16

    def to_json(self) -> str:
        """Write it down for the other process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Read what `to_json` wrote."""
        raw = json.loads(text)
        return cls(**{**raw, "points": [Point(**point) for point in raw["points"]]})


class Contender(Protocol):
    """An engine with a loaded model."""

    version: str

    def generate(self, prompts: list[list[int]], num_steps: int) -> list[float]:
        """Continue all prompts greedily, together, for `num_steps` steps after the first token, whatever comes.

        Returns
        -------
        list of float
            `[num_steps + 1]` moments of `time.perf_counter`: entry `i` is when *every* sequence had its token `i`.
        """
        ...


def measure(contender: Contender, spec: Spec, keep: Callable[[dict[str, list[float]]], None]) -> None:
    """Time all points, handing what is known after each of them to `keep`: samples of tokens per second by point."""
    dice = random.Random(spec.round)
    samples: dict[str, list[float]] = {}
    for point in spec.points:
        _warm_up(contender, point, spec, dice)
        time_point = _decode_samples if point.batch else _prefill_samples
        samples[point.name] = time_point(contender, point, spec, dice)
        print(f"    {point.name}: {max(samples[point.name]):.1f} tokens/s at best", file=sys.stderr, flush=True)
        keep(samples)


def _warm_up(contender: Contender, point: Point, spec: Spec, dice: random.Random) -> None:
    length = 16 if point.batch else point.context
    contender.generate(_prompts(max(1, point.batch), length, spec, dice), SETTLE_STEPS)


def _decode_samples(contender: Contender, point: Point, spec: Spec, dice: random.Random) -> list[float]:
    # The prompt is shorter than the context by half of what will be generated: the context is right on average.
    length = max(1, point.context - spec.num_steps // 2)
    moments = contender.generate(_prompts(point.batch, length, spec, dice), spec.num_steps)
    ends = moments[SETTLE_STEPS :: spec.window_steps]
    tokens = point.batch * spec.window_steps
    return [tokens / (end - begin) for begin, end in pairwise(ends)]


def _prefill_samples(contender: Contender, point: Point, spec: Spec, dice: random.Random) -> list[float]:
    found = []
    for _ in range(spec.num_windows):
        prompts = _prompts(1, point.context, spec, dice)
        begin = time.perf_counter()
        found.append(point.context / (contender.generate(prompts, 0)[0] - begin))
    return found


def _prompts(batch: int, length: int, spec: Spec, dice: random.Random) -> list[list[int]]:
    """Draw prompts that share nothing, so that no cache of prefixes can help anyone."""
    return [[dice.randrange(100, spec.vocab_size) for _ in range(length)] for _ in range(batch)]


def contend(open_: Callable[[Spec], Contender], prepare: Callable[[Spec], None] | None = None) -> None:
    """Run one contender's process: ``argv`` is ``prepare|measure`` and a file for results; the spec is on stdin."""
    spec, out = Spec.from_json(sys.stdin.read()), Path(sys.argv[2])
    if sys.argv[1] == "prepare":
        if prepare is not None:
            prepare(spec)
        return
    begin = time.perf_counter()
    contender = open_(spec)
    load_s = time.perf_counter() - begin

    def keep(samples: dict[str, list[float]]) -> None:
        found = {"version": contender.version, "load_s": load_s, "tokens_per_s": samples}
        out.write_text(json.dumps(found))

    measure(contender, spec, keep)
