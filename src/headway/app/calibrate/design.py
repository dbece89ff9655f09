"""What a server is asked during a calibration: bursts whose steps are of all the kinds that serving has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from headway.app.bench.load import Planned

DECODE_TOKENS = 16
"""Output tokens of a burst that is there for its decodes."""
SMALLEST_PROMPT = 8
PROMPTS_PER_PILE = 3
BLOCK_ROOM = 16
"""Tokens by which a request may take more of the memory than it has."""


class Design:
    """Draws bursts of requests; all of a burst are sent at once, and the next waits for the end of the one before.

    Parameters
    ----------
    context_tokens : int
        Longest prompt plus output, >= 64.
    kv_tokens : int
        Size of the KV memory, which no burst exceeds.
    max_seqs : int
        The most requests that run at once.
    budget_tokens : int
        The largest step.
    seed : int
        Of lengths.
    """

    def __init__(self, context_tokens: int, kv_tokens: int, max_seqs: int, budget_tokens: int, seed: int = 0) -> None:
        self._longest = max(2 * SMALLEST_PROMPT, min(context_tokens, kv_tokens // 2) - DECODE_TOKENS - 1)
        self._kv_tokens = kv_tokens
        self._max_seqs = max_seqs
        self._budget = budget_tokens
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._num = 0

    def round(self) -> Iterator[list[Planned]]:
        """Yield the bursts of one round, kinds in turn so that a round cut short is still of use."""
        prompts, batches = self._lengths(), self._batches()
        for turn in range(max(len(prompts), len(batches))):
            yield self._decodes(batches[turn % len(batches)])
            yield self._burst([self._vary(prompts[turn % len(prompts)])], [1])
            yield self._pile(batches[(turn + 1) % len(batches)])

    def _lengths(self) -> list[int]:
        """Return lengths of single prompts: powers of two and what lies between, up to the largest step."""
        most = min(self._longest, self._budget)
        ladder = {SMALLEST_PROMPT << power for power in range(16)} | {12 << power for power in range(16)}
        lengths = sorted({length for length in ladder if length < most} | {most})
        return [int(length) for length in self._rng.permutation(lengths)]

    def _batches(self) -> list[int]:
        most = max(1, min(self._max_seqs, self._kv_tokens // (SMALLEST_PROMPT + DECODE_TOKENS + BLOCK_ROOM)))
        sizes = sorted({min(1 << power, most) for power in range(10)} | {min(3 << power, most) for power in range(8)})
        return [int(size) for size in self._rng.permutation(sizes)]

    def _decodes(self, num: int) -> list[Planned]:
        """So many requests of about equal length: steps of decodes alone, at one of many contexts."""
        room = min(self._longest, self._kv_tokens // num - DECODE_TOKENS - BLOCK_ROOM, 4 * self._budget // num)
        length = self._between(SMALLEST_PROMPT, max(SMALLEST_PROMPT, room))
        return self._burst([length] * num, [DECODE_TOKENS] * num)

    def _pile(self, num: int) -> list[Planned]:
        """More prompts than one step takes, of all lengths: chunks beside decodes, with something before them."""
        count = max(PROMPTS_PER_PILE, num)
        room = min(self._longest, self._kv_tokens // count - DECODE_TOKENS - BLOCK_ROOM, 8 * self._budget // count)
        lengths = [self._between(SMALLEST_PROMPT, max(SMALLEST_PROMPT, room)) for _ in range(count)]
        return self._burst(lengths, [int(n) for n in self._rng.integers(1, DECODE_TOKENS, count, endpoint=True)])

    def _burst(self, prompts: Sequence[int], outputs: Sequence[int]) -> list[Planned]:
        self._num += 1
        return [
            Planned(id=f"burst-{self._seed}-{self._num}-{place}", at_s=0.0, input_tokens=prompt, output_tokens=output)
            for place, (prompt, output) in enumerate(zip(prompts, outputs, strict=True))
        ]

    def _vary(self, length: int) -> int:
        """Return nearly this length, so that rounds do not repeat each other."""
        return max(1, length - int(self._rng.integers(0, max(1, length // 8))))

    def _between(self, low: int, high: int) -> int:
        """Draw a length, short ones as often as long ones."""
        return int(np.exp(self._rng.uniform(np.log(low), np.log(high + 1))))
