"""The shares of two workers on one accelerator, and the controller that turns them now and then."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from headway.core.nouns import Seconds
from headway.policies.serving.latency_laws import Law, Sample, fit_tpot, fit_ttft

NUM_WINDOWS = 32
"""How many windows the laws are fitted to."""


class Knobs:
    """How a `Partition` is turned.

    Parameters
    ----------
    window : int
        Iterations between two looks, >= 0; 0 leaves the shares as they are.
    step_share : float
        By how much a share changes at a time, in (0, 1).
    max_steps : int
        How many such changes one look may make, >= 1.
    quantile : float
        Which requests must be within their bounds, in (0, 1).
    """

    __slots__ = ("max_steps", "quantile", "step_share", "window")

    def __init__(self, window: int, step_share: float, max_steps: int, quantile: float) -> None:
        self.window = window
        self.step_share = step_share
        self.max_steps = max_steps
        self.quantile = quantile


class Partition:
    """The shares of one accelerator.

    All latencies are told as multiples of their bounds, so that requests with different promises count alike.

    Parameters
    ----------
    prefill, decode : float
        The shares at the start, each in (0, 1]; together they may be more than 1, and then the workers compete.
    knobs : Knobs
        How they are turned.

    Attributes
    ----------
    prefill, decode : float
        The present shares.
    ttft, tpot : Law or None
        What follows from a worker's part of both shares, once it was seen.
    ttft_samples, tpot_samples : deque of (share, latency)
        What the laws are fitted to.
    """

    def __init__(self, prefill: float, decode: float, knobs: Knobs) -> None:
        self.prefill, self.decode = prefill, decode
        self.ttft: Law | None = None
        self.tpot: Law | None = None
        self.ttft_samples: deque[Sample] = deque(maxlen=NUM_WINDOWS)
        self.tpot_samples: deque[Sample] = deque(maxlen=NUM_WINDOWS)
        self._knobs = knobs
        self._since_s: Seconds = 0.0
        self._clear(0.0)

    @property
    def prefill_part(self) -> float:
        """What prefill gets while both work."""
        return self.prefill / (self.prefill + self.decode)

    def note_first_token(self, latency: float) -> None:
        """Note the time to the first token of a request, as a multiple of its bound."""
        self._ttfts.append(latency)

    def note_prefill(self, took_s: Seconds) -> None:
        """Note an iteration of the prefill worker."""
        self._num_iterations += 1
        self._prefill_s += took_s

    def note_decode(self, took_s: Seconds, num_runs: int) -> None:
        """Note some iterations of the decode worker."""
        self._num_iterations += num_runs
        self._num_decodes += num_runs
        self._decode_s += took_s

    def look(self, now_s: Seconds, bounds: Callable[[], Sequence[Seconds]]) -> bool:
        """Turn the shares if a window is over and one of the two latencies alone is too long; says whether it was over.

        `bounds` returns those on the time per output token of all requests that decode.
        """
        if not self._knobs.window or self._num_iterations < self._knobs.window:
            return False
        ttft, tpot = self._seen_ttft(), self._seen_tpot(bounds())
        self._learn(ttft, tpot, now_s)
        if (ttft > 1) != (tpot > 1):
            self._turn(more_prefill=ttft > 1, latency=max(ttft, tpot))
        self._clear(now_s)
        return True

    def _seen_ttft(self) -> float:
        return float(np.quantile(self._ttfts, self._knobs.quantile)) if self._ttfts else 0.0

    def _seen_tpot(self, bounds: Sequence[Seconds]) -> float:
        """Return the quantile over all that decode: an iteration gives each of them a token."""
        if not bounds or not self._num_decodes:
            return 0.0
        tpot_s = self._decode_s / self._num_decodes
        return float(np.quantile([multiple(tpot_s, bound_s) for bound_s in bounds], self._knobs.quantile))

    def _learn(self, ttft: float, tpot: float, now_s: Seconds) -> None:
        if ttft > 0:
            self.ttft_samples.append((self.prefill_part, ttft))
            busy_frac = self._prefill_s / max(now_s - self._since_s, 1e-9)
            self.ttft = fit_ttft(self.ttft_samples, busy_frac * self.prefill_part)
        if tpot > 0:
            self.tpot_samples.append((1 - self.prefill_part, tpot))
            self.tpot = fit_tpot(self.tpot_samples)

    def _turn(self, *, more_prefill: bool, latency: float) -> None:
        """Give one worker more, step by step, until its law says that it is enough.

        The law is that of all windows, scaled to what was seen in the last.
        """
        law = self.ttft if more_prefill else self.tpot
        assert law is not None  # who is too slow was seen
        law = law.through(self.prefill_part if more_prefill else 1 - self.prefill_part, latency)
        for _ in range(self._knobs.max_steps):
            part = self.prefill_part if more_prefill else 1 - self.prefill_part
            if law.at(part) <= 1:
                return
            if more_prefill:
                self.prefill, self.decode = self._shifted(self.prefill, self.decode)
            else:
                self.decode, self.prefill = self._shifted(self.decode, self.prefill)

    def _shifted(self, more: float, less: float) -> tuple[float, float]:
        """Raise one share by a step; where it would be more than the whole, lower the other."""
        step = self._knobs.step_share
        raised = round(more + step, 6)
        return (raised, less) if raised <= 1 else (more, max(round(less - step, 6), min(step, less)))

    def _clear(self, now_s: Seconds) -> None:
        self._ttfts: list[float] = []
        self._num_iterations = self._num_decodes = 0
        self._prefill_s = self._decode_s = 0.0
        self._since_s = now_s


def multiple(latency_s: Seconds, bound_s: Seconds) -> float:
    """Return a latency as a multiple of its bound; 0 where there is none."""
    return latency_s / bound_s if 0 < bound_s < math.inf else 0.0
