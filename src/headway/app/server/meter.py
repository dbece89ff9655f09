"""Times the tokens of one HTTP request."""

from __future__ import annotations

from headway.app.server.metrics import Metrics
from headway.app.server.order import Order
from headway.core.nouns import Seconds


class Meter:
    """Follows the outputs of one order and adds them to the server's metrics.

    Parameters
    ----------
    metrics : Metrics
        The server's.
    order : Order
        What is followed.
    arrived_s : float
        When it arrived, by the clock that `tokens` is told.

    Attributes
    ----------
    ttft_s : float or None
        From arrival to the first token of any output.
    finishes : list of str
        Why the outputs ended, in the order in which they did.
    """

    def __init__(self, metrics: Metrics, order: Order, arrived_s: Seconds) -> None:
        self.arrived_s = arrived_s
        self.ttft_s: Seconds | None = None
        self.finishes: list[str] = []
        self._metrics = metrics
        self._order = order
        self._gaps = metrics.histograms["headway_itl_seconds"]
        num = order.num_outputs
        self._first_s: list[Seconds] = [0.0] * num
        self._last_s: list[Seconds] = [0.0] * num
        self._num_tokens = [0] * num
        for prompt in order.prompts:
            metrics.count("headway_prompt_tokens", by=len(prompt.tokens) * order.num_choices)

    def tokens(self, index: int, count: int, now_s: Seconds) -> None:
        """Note that output `index` was given `count` tokens."""
        if not count:
            return
        self._metrics.count("headway_output_tokens", by=count)
        if self._num_tokens[index]:
            self._gaps.add((now_s - self._last_s[index]) / count, count)
        else:
            self._first(index, now_s)
        self._num_tokens[index] += count
        self._last_s[index] = now_s

    def finished(self, index: int, reason: str, queue_s: Seconds = 0.0) -> None:
        """Note that output `index` ended."""
        self.finishes.append(reason)
        self._metrics.count("headway_finished", (reason,))
        tokens = self._num_tokens[index]
        if reason not in ("stop", "length") or not tokens:
            return
        add = self._metrics.histograms
        span_s = self._last_s[index] - self._first_s[index]
        add["headway_e2e_seconds"].add(self._last_s[index] - self.arrived_s)
        add["headway_request_prompt_tokens"].add(len(self._order.prompts[index // self._order.num_choices].tokens))
        add["headway_request_output_tokens"].add(tokens)
        if tokens > 1:
            add["headway_tpot_seconds"].add(span_s / (tokens - 1))
        add["headway_queue_seconds"].add(queue_s)

    def _first(self, index: int, now_s: Seconds) -> None:
        ttft_s = now_s - self.arrived_s
        self._first_s[index] = now_s
        self._metrics.histograms["headway_ttft_seconds"].add(ttft_s)
        if self.ttft_s is None:
            self.ttft_s = ttft_s
