"""A straight line below the price of every step."""

from __future__ import annotations

from msgspec import Struct, structs

from headway.core.nouns import Seconds


class Line(Struct, frozen=True, kw_only=True):
    """A line below a price: no step is cheaper.

    For every step of decodes (tokens that follow a token that was given) and chunks of prompts, of which chunk i goes
    through the share f_i of the layers::

        step_s >= full * step + decode * num_decodes + context * context_tokens + draft * drafted_tokens
                  + sum over chunks of f_i * (prefill * tokens + pair * tokens * (before + tokens / 2))

    where full is 1 when there are decodes, and the largest f_i otherwise. A decode that is run as a chunk of one token,
    through some layers at a time, costs no less in all than a decode.

    Parameters
    ----------
    step_s, decode_s, context_s, prefill_s, pair_s, draft_s : float
        Per step, per decode, per token in memory that a decode attends to, per token of a prompt, per pair of a
        prompt's token and one before it, and per drafted token; in seconds, >= 0.
    """

    step_s: Seconds
    decode_s: Seconds
    context_s: Seconds
    prefill_s: Seconds
    pair_s: Seconds
    draft_s: Seconds = 0.0

    def drafting(self) -> Line:
        """Return the line where steps may yield several tokens of a request.

        A decode with d drafted tokens yields d + 1 at most, all of which share what it reads and its step.
        """
        return structs.replace(self, step_s=0.0, context_s=0.0, decode_s=min(self.decode_s, self.draft_s))

    def lending(self) -> Line:
        """Return the line where other instances may attend to what a request has in memory."""
        return structs.replace(self, context_s=0.0, pair_s=0.0)
