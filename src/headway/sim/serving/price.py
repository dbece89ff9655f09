"""How long a step takes in virtual time: the protocol of cost models, and the simplest of them."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds


class Chunk(Struct, frozen=True, gc=False):
    """Tokens of a prompt (or of a recomputed output) that a step computes.

    Parameters
    ----------
    tokens : int
        How many, >= 1.
    context_tokens : int
        How many tokens before them are in memory, >= 0.
    layers_frac : float
        Through which share of the layers they go, in (0, 1].
    """

    tokens: int
    context_tokens: int
    layers_frac: float = 1.0


class BatchShape(Struct, frozen=True, gc=False):
    """What a step computes, as far as its price depends on it.

    Parameters
    ----------
    num_decodes : int
        Requests that get one more token, >= 0.
    context_tokens : int
        Tokens in memory that these attend to, in total and not counting the new ones, >= 0.
    chunks : tuple of Chunk
        Prompts under way.
    share : float
        The share of the compute that the step gets, in (0, 1].
    drafted_tokens : int
        Drafted tokens that are checked beside those of the decodes, in total, >= 0. They read no context of their own.
    """

    num_decodes: int
    context_tokens: int
    chunks: tuple[Chunk, ...] = ()
    share: float = 1.0
    drafted_tokens: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens computed."""
        return self.num_decodes + self.drafted_tokens + sum([chunk.tokens for chunk in self.chunks])


class StepPrice(Protocol):
    """Tells what one run of a step costs on one instance.

    A step of decodes alone costs an affine function of their context, so that a world can run many of them in closed
    form: ``step_s(BatchShape(n, context)) == base_s + per_token_s * context`` with ``decode_line(n)``.
    """

    def step_s(self, shape: BatchShape) -> Seconds:
        """Return the time of one run, in seconds, > 0. Of an instance in pipeline stages, the time of one stage."""

    def decode_line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return (base_s, per_token_s) of a step of `num_decodes` decodes and nothing else, at the full share."""


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

    def step_s(self, shape: BatchShape) -> Seconds:
        """Return the time of one run, in seconds.

        A chunk that passes through some of the layers costs that share of its time; a step that gets a share of the
        compute takes the longer for it.
        """
        base_s, per_token_s = self.decode_line(shape.num_decodes)
        total_s = base_s + per_token_s * shape.context_tokens + self.decode_s * shape.drafted_tokens
        for chunk in shape.chunks:
            attended = chunk.context_tokens + chunk.tokens
            chunk_s = chunk.tokens * self.prefill_token_s + attended * self.context_token_s
            total_s += chunk_s * chunk.layers_frac
        return total_s / shape.share

    def decode_line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return (base_s, per_token_s) of a step of decodes alone."""
        return self.fixed_s + num_decodes * (self.decode_s + self.context_token_s), self.context_token_s
