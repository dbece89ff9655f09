"""A straight line below the price of every step."""

from __future__ import annotations

from msgspec import Struct

from headway.core.nouns import Seconds


class Line(Struct, frozen=True, kw_only=True):
    """A line below a price: no step is cheaper.

    For every step of decodes (tokens that follow a token that was given) and chunks of prompts, of which chunk i goes
    through the share f_i of the layers::

        step_s >= full * step + decode * num_decodes + context * context_tokens
                  + sum over chunks of f_i * (prefill * tokens + pair * tokens * (before + tokens / 2))

    where full is 1 when there are decodes, and the largest f_i otherwise. A decode that is run as a chunk of one token,
    through some layers at a time, costs no less in all than a decode.

    Parameters
    ----------
    step_s, decode_s, context_s, prefill_s, pair_s : float
        Per step, per decode, per token in memory that a decode attends to, per token of a prompt, and per pair of a
        prompt's token and one before it; in seconds, >= 0.
    """

    step_s: Seconds
    decode_s: Seconds
    context_s: Seconds
    prefill_s: Seconds
    pair_s: Seconds
