"""How long a step takes in virtual time."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.nouns import Step
from headway.policies.serving.state import InstanceState


class StepPrice(Protocol):
    """Tells what one run of a step costs."""

    def step_s(self, step: Step, instance: InstanceState) -> Seconds:
        """Return the time of one run of `step`, in seconds, > 0; `instance` is as it was before the run."""


class LinearPrice(Struct, frozen=True, kw_only=True):
    """A step takes a fixed time, plus so much per token computed and per token of context read.

    It has the shape of a step on an accelerator: the weights are read once whatever the batch (`fixed_s`), tokens of
    prompts cost arithmetic, decodes cost little of it, and attention reads the context of each piece. The numbers are
    round, of the order of a 7 B model on one large GPU, and calibrated to nothing: compare policies with them, do not
    quote times.

    Parameters
    ----------
    fixed_s : float
        Per step, in seconds, > 0; 8 ms.
    prefill_token_s : float
        Per token of a prompt, or of a recomputed output, in seconds, >= 0; 100 us.
    decode_s : float
        Per decode, in seconds, >= 0; 50 us.
    context_token_s : float
        Per token of KV that a piece attends to, in seconds, >= 0; 50 ns.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    fixed_s: Seconds = 8e-3
    prefill_token_s: Seconds = 1e-4
    decode_s: Seconds = 5e-5
    context_token_s: Seconds = 5e-8

    def __post_init__(self) -> None:
        if not self.fixed_s > 0 or not min(self.prefill_token_s, self.decode_s, self.context_token_s) >= 0:
            raise ConfigError(f"LinearPrice: fixed_s must be > 0 and the others >= 0, got {self}. Try the defaults.")

    def step_s(self, step: Step, instance: InstanceState) -> Seconds:
        """Return the time of one run of `step`, in seconds.

        A piece that passes through some of the layers costs that share of its time; a step that gets a share of the
        compute takes the longer for it.
        """
        total_s = self.fixed_s
        for piece in step.pieces:
            state = instance.running.get(piece.request)
            if state is None:  # it ended in an earlier run of the same step
                continue
            tokens_s = self.decode_s if state.decoding else piece.tokens * self.prefill_token_s
            piece_s = tokens_s + (state.computed_tokens + piece.tokens) * self.context_token_s
            if piece.layers is not None:
                piece_s *= (piece.layers[1] - piece.layers[0]) / instance.num_layers
            total_s += piece_s
        return total_s / step.share
