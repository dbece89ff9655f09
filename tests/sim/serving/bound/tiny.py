"""The best of all schedules of a tiny instance, found by trying every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from headway.sim.serving.price import BatchShape, Chunk, StepPrice

Rows = tuple[tuple[float, int, int], ...]
"""Arrival, prompt and output of each request."""


class Far(NamedTuple):
    """How far a request has come: tokens in memory, tokens given, and when the first was."""

    done: int = 0
    given: int = 0
    first_s: float = 0.0


class Tiny:
    """One instance, a few requests, and everything that could be done with them."""

    def __init__(self, rows: Rows, price: StepPrice, ttft_s: float, tpot_s: float, kv_tokens: int) -> None:
        self.rows, self.price, self.kv_tokens = rows, price, kv_tokens
        self.ttft_s, self.tpot_s = ttft_s, tpot_s
        self._known: dict[tuple[float, tuple[Far, ...]], int] = {}

    def most_good(self) -> int:
        """Return how many the best schedule serves as promised."""
        return self._best(0.0, tuple(Far() for _ in self.rows))

    def _best(self, now_s: float, far: tuple[Far, ...]) -> int:
        key = (now_s, far)
        if key not in self._known:
            coming = [row[0] for row, one in zip(self.rows, far, strict=True) if row[0] > now_s and not one.done]
            found = self._best(min(coming), far) if coming else 0
            for tokens in product(*self._choices(now_s, far)):
                if any(tokens):
                    found = max(found, self._after(now_s, far, tokens))
            self._known[key] = found
        return self._known[key]

    def _choices(self, now_s: float, far: tuple[Far, ...]) -> Iterator[range]:
        """Yield how many tokens each could compute in a step now; who has missed is let be."""
        for (at_s, prompt, output), one in zip(self.rows, far, strict=True):
            if at_s > now_s or one.given >= output or (not one.given and now_s - at_s > self.ttft_s):
                yield range(1)
            else:
                yield range(prompt - one.done + 1 if one.done < prompt else 2)

    def _after(self, now_s: float, far: tuple[Far, ...], tokens: tuple[int, ...]) -> int:
        end_s, good = now_s + self.price.step_s(self._shape(far, tokens)), 0
        then = tuple(self._come(*all_, end_s) for all_ in zip(self.rows, far, tokens, strict=True))
        held = [one.done for one, row in zip(then, self.rows, strict=True) if one.given < row[2]]
        if sum(held) > self.kv_tokens:
            return 0
        for (at_s, _, output), one, count in zip(self.rows, then, tokens, strict=True):
            if count and one.given == output:
                gap_s = (end_s - one.first_s) / (output - 1) if output > 1 else 0.0
                good += one.first_s - at_s <= self.ttft_s and gap_s <= self.tpot_s
        return good + self._best(end_s, then)

    def _shape(self, far: tuple[Far, ...], tokens: tuple[int, ...]) -> BatchShape:
        chunks, num, context = [], 0, 0
        for count, (_, prompt, _), one in zip(tokens, self.rows, far, strict=True):
            if count and one.done < prompt:
                chunks.append(Chunk(count, one.done))
            elif count:
                num, context = num + 1, context + one.done
        return BatchShape(num, context, tuple(chunks))

    def _come(self, row: tuple[float, int, int], one: Far, count: int, end_s: float) -> Far:
        done = one.done + count
        if not count or done < row[1]:
            return Far(done, one.given, one.first_s)
        return Far(done, one.given + 1, one.first_s if one.given else end_s)
