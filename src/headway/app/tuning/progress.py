"""How the job that runs goes: how far, how fast, until when."""

from __future__ import annotations

import time

from headway.engines.tuning.news import TuneNews

RECENT = 0.2
"""Weight of the newest measurement of the speed."""


class Progress:
    """What is known of one job since it was sent; nothing of this is written down.

    Parameters
    ----------
    job : str
        Its id; empty for none.

    Attributes
    ----------
    step, num_steps : int
        Steps made, and in all.
    loss : float or None
        Of the last step.
    num_new_tokens : int
        Tokens trained of which `taken` was not told yet.
    tokens_per_s : float
        Lately; 0 until there were two steps.
    """

    def __init__(self, job: str = "") -> None:
        self.job = job
        self.step = self.num_steps = 0
        self.loss: float | None = None
        self.tokens_per_s = 0.0
        self.num_new_tokens = 0
        self._tokens = -1
        self._step_s = 0.0
        self._last_s = 0.0

    def take(self, news: TuneNews, new: bool) -> None:
        """Hear what the engine says; `new` unless the same step was made before."""
        self.num_steps = news.num_steps or self.num_steps
        if news.what not in ("loaded", "step"):
            return
        at_s, before, self.step = time.monotonic(), self._tokens, news.step
        self._tokens = news.tokens
        if news.what == "step" and before >= 0:
            self.loss = news.loss
            tokens = news.tokens - before
            self.num_new_tokens += tokens if new else 0
            self._measure(at_s - self._last_s, tokens)
        self._last_s = at_s

    def taken(self) -> int:
        """Tokens trained since this was called before."""
        count, self.num_new_tokens = self.num_new_tokens, 0
        return count

    def finish(self) -> int | None:
        """When it will be done, in seconds of the Unix epoch; None as long as nobody knows."""
        if not self._step_s or not self.num_steps:
            return None
        return int(time.time() + (self.num_steps - self.step) * self._step_s)

    def _measure(self, span_s: float, tokens: int) -> None:
        if span_s <= 0:
            return
        weight = RECENT if self._step_s else 1.0
        self._step_s += weight * (span_s - self._step_s)
        self.tokens_per_s += weight * (tokens / span_s - self.tokens_per_s)
