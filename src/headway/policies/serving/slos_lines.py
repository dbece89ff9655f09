"""When the tokens of a request are due: its first by a deadline, the others along a line.

Source: "SLOs-Serve: Optimized Serving of Multi-SLO LLMs", arXiv 2504.08784, whose line begins at the deadline of the
first token. Here it begins at the first token, since a time per output token is counted from there.
"""

from __future__ import annotations

import math

from msgspec import Struct

from headway.core.nouns import Seconds
from headway.policies.serving.promises import Promise
from headway.policies.serving.state import RequestState


class Line(Struct, frozen=True, gc=False):
    """What one request was promised, as times.

    Parameters
    ----------
    first_s : float
        When its first token is due, in seconds since the start of the run.
    tpot_s : float
        From one token to the next, in seconds, > 0; infinite where nothing was promised.
    """

    first_s: Seconds
    tpot_s: Seconds

    @property
    def is_none(self) -> bool:
        """Whether nothing was promised that could be missed."""
        return self.first_s == math.inf and self.tpot_s == math.inf

    def due_s(self, state: RequestState) -> Seconds:
        """Return when the next output token is due."""
        if state.first_token_s is None:
            return self.first_s
        return state.first_token_s + state.output_tokens * self.tpot_s

    def is_lost(self, state: RequestState, now_s: Seconds, output_tokens: float, step_s: Seconds) -> bool:
        """Say whether the line cannot be kept any more, were the request to get a token with every step from now on."""
        if state.first_token_s is None or state.first_token_s > self.first_s:
            return now_s > self.first_s
        last_s = state.first_token_s + (output_tokens - 1) * self.tpot_s
        return now_s + (output_tokens - state.output_tokens) * step_s > last_s


def line_of(state: RequestState, promise: Promise, output_tokens: float) -> Line:
    """Return the line of a request.

    A bound on the whole time, without one on the time per token, is spread over the tokens that it is thought to
    come to; a bound on the whole time alone gives a tenth of it to the first token.
    """
    arrival_s, ttft_s, tpot_s = state.request.arrival_s, promise.ttft_s, promise.tpot_s
    if promise.e2e_s < math.inf:
        ttft_s = min(ttft_s, promise.e2e_s if tpot_s < math.inf else 0.1 * promise.e2e_s)
        tpot_s = min(tpot_s, max(promise.e2e_s - ttft_s, 1e-6) / max(1.0, output_tokens - 1))
    return Line(arrival_s + ttft_s, tpot_s)
