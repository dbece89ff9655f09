"""How long a step may take so that everybody at its instance is still given what was promised."""

from __future__ import annotations

import math

from headway.core.nouns import Seconds
from headway.policies.serving.nouns import Step
from headway.policies.serving.promises import Promise
from headway.policies.serving.state import InstanceState

NO_BOUND_S: Seconds = 0.2
"""How long a step may take where nobody at its instance was promised anything."""
TTFT_FRAC = 0.25
"""Of what is left until a first token is due, the share that may be spent on something else."""
PATIENCE_FRAC = 0.1
"""Of the tightest promise of a first token, the share that an arrival may wait for a unit under way."""
RECENT = 128
"""Promises of first tokens count until so many to twice as many have arrived since."""


class Slack:
    """Reckons with promises.

    Parameters
    ----------
    margin_frac : float
        Share of a bound that is kept free, in [0, 1).
    """

    def __init__(self, margin_frac: float) -> None:
        self._margin_frac = margin_frac
        self._ttft_s = self._before_s = math.inf  # the tightest of the present window, and of the one before
        self._num_heard = 0

    def hear(self, promise: Promise) -> None:
        """Note what somebody who arrives was promised."""
        if self._num_heard == RECENT:
            self._before_s, self._ttft_s, self._num_heard = self._ttft_s, math.inf, 0
        self._num_heard += 1
        self._ttft_s = min(self._ttft_s, promise.ttft_s)

    @property
    def patience_s(self) -> Seconds:
        """How long whoever arrives next can wait, in seconds, going by the tightest promise of late."""
        return PATIENCE_FRAC * min(self._ttft_s, self._before_s)

    def allowed_s(self, instance: InstanceState, step: Step, step_s: Seconds, now_s: Seconds) -> Seconds:
        """Return how long the next step may take, in seconds; what is below `step_s` leaves no room for a unit.

        Parameters
        ----------
        instance : InstanceState
            Where.
        step : Step
            What it computes.
        step_s : float
            How long that takes alone, in seconds.
        now_s : float
            The present, in seconds since the start of the run.
        """
        keep = 1.0 - self._margin_frac
        allowed_s = min(NO_BOUND_S, step_s + self._ttft_slack_s(instance, step, step_s, now_s))
        for state in instance.running.values():
            bound_s = state.promise.tpot_s
            if bound_s == math.inf or state.first_token_s is None:
                continue
            # The mean over its tokens is promised. The next token comes out with the pieces, whatever follows these;
            # what follows them delays the one after it.
            due_s = state.first_token_s + (state.output_tokens + 1) * bound_s
            allowed_s = min(allowed_s, keep * bound_s, due_s - step_s - now_s)
        return min(allowed_s, step_s + self.patience_s)

    def _ttft_slack_s(self, instance: InstanceState, step: Step, step_s: Seconds, now_s: Seconds) -> Seconds:
        """Return what the first tokens that are due leave to something else within this step."""
        waiting = [*instance.prefills.values(), *instance.waiting.values()]
        due_s = min((s.request.arrival_s + s.promise.ttft_s for s in waiting if not s.output_tokens), default=math.inf)
        if due_s == math.inf:
            return math.inf
        tokens = sum(state.left_tokens for state in waiting)
        num_steps = max(1, math.ceil(tokens / max(1, step.num_tokens)))
        return max(0.0, TTFT_FRAC * (due_s - now_s - num_steps * step_s) / num_steps)
