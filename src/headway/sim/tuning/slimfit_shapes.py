"""What fine-tuning an encoder keeps in memory, from its shape: with SlimFit's layers, and with plain ones."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import Struct

from headway.core.nouns import Id, Seconds
from headway.policies.tuning.slimfit_nouns import FreezingJob, WeightUnit

FLOAT_BYTES = 4
KEPT_FRAC = 0.1
"""Share of its normalised output that a frozen LayerNorm keeps, the paper's."""
KEPT_BYTES = FLOAT_BYTES + 4
"""Of a value kept, with its place."""
STATES = 3
"""Floats per weight that stay: itself and two moments of AdamW."""


class Encoder(Struct, frozen=True, kw_only=True):
    """The shape of a BERT or a ViT, and of what it is given.

    Parameters
    ----------
    batch, sequence : int
        Inputs per iteration, and positions of each, >= 1.
    num_layers, width, num_heads, inner : int
        Of the encoder, >= 1; those of BERT-base and ViT-base.
    vocabulary : int
        Words; 0 for a ViT, which normalises before each block instead of after it.
    num_positions : int
        That have an embedding; 0 for as many as the sequence has.
    num_classes : int
        Of the head, >= 1.
    patch_values : int
        Numbers of a patch of an image, >= 1; of 16 × 16 pixels in three colours.
    dropout : bool
        Whether there is dropout, after attention and after each block.
    """

    batch: int
    sequence: int
    num_layers: int = 12
    width: int = 768
    num_heads: int = 12
    inner: int = 3072
    vocabulary: int = 0
    num_positions: int = 0
    num_classes: int = 2
    patch_values: int = 768
    dropout: bool = False

    @property
    def num_tokens(self) -> int:
        """Positions of an iteration."""
        return self.batch * self.sequence

    @property
    def num_scores(self) -> int:
        """Numbers in the attention matrices of a layer."""
        return self.batch * self.num_heads * self.sequence**2

    @property
    def num_biases(self) -> int:
        """Weights of one dimension but those of LayerNorms."""
        per_layer = 7 * self.width + self.inner  # q, k, v, o, down and two LayerNorms; up
        return self.num_layers * per_layer + 2 * self.width + self.num_classes

    def floats(self, per_token: int) -> int:
        """Bytes of so many floats per token."""
        return FLOAT_BYTES * self.num_tokens * per_token

    def units(self) -> Iterator[WeightUnit]:
        """Yield what can be frozen, in the order in which it is computed."""
        width, inner = self.width, self.inner
        if self.vocabulary:
            yield WeightUnit("embeddings.words", self.vocabulary * width, 0)
            yield WeightUnit("embeddings.positions", (self.num_positions or self.sequence) * width, 0)
            yield WeightUnit("embeddings.types", 2 * width, 0)
            yield self._norm("embeddings.norm")
        else:
            yield WeightUnit("embeddings.class", width, 0)
            yield WeightUnit("embeddings.positions", self.sequence * width, 0)
            yield WeightUnit("embeddings.patches", self.patch_values * width, 0)
        for layer in range(self.num_layers):
            if not self.vocabulary:
                yield self._norm(f"{layer}.attention.norm")
            for name in ("query", "key", "value"):
                yield self._linear(f"{layer}.{name}", width, width, reads=f"{layer}.hidden")
            yield self._linear(f"{layer}.out", width, width)
            yield self._norm(f"{layer}.{'attention' if self.vocabulary else 'inner'}.norm")
            yield self._linear(f"{layer}.up", width, inner)
            yield self._linear(f"{layer}.down", inner, width, kept_bytes=1)
            if self.vocabulary:
                yield self._norm(f"{layer}.inner.norm")
        if self.vocabulary:
            yield WeightUnit("pooler", width**2, FLOAT_BYTES * self.batch * width)
        else:
            yield self._norm("norm")
        yield WeightUnit("classifier", width * self.num_classes, FLOAT_BYTES * self.batch * width)

    def _linear(self, name: str, read: int, written: int, reads: str = "", kept_bytes: int = FLOAT_BYTES) -> WeightUnit:
        kept = kept_bytes * self.num_tokens * read
        return WeightUnit(name, read * written, kept, reads=reads, flops=2.0 * self.num_tokens * read * written)

    def _norm(self, name: str) -> WeightUnit:
        spread = FLOAT_BYTES * self.num_tokens  # the standard deviation of each token, kept in any case
        frozen = KEPT_BYTES * int(KEPT_FRAC * self.num_tokens * self.width)
        return WeightUnit(name, self.width, self.floats(self.width) + spread, frozen_bytes=frozen + spread)


def slim_job(
    encoder: Encoder, id: Id, num_iterations: int, freeze_frac: float | None = None, arrival_s: Seconds = 0.0
) -> FreezingJob:
    """Make the job of fine-tuning an encoder with SlimFit's layers.

    Parameters
    ----------
    encoder : Encoder
        Its shape.
    id : str
        Of the job.
    num_iterations : int
        At most, >= 1.
    freeze_frac : float or None
        As its user wants it, in [0, 1); None leaves it to the policy.
    arrival_s : float
        In seconds, >= 0.
    """
    units = tuple(encoder.units())
    weights = sum([unit.num_weights for unit in units]) + encoder.num_biases
    # operands of both products, the GELU's input, softmax, and masks of dropout if there is any
    static = 3 * encoder.num_tokens * encoder.width + math.ceil(encoder.num_tokens * encoder.inner / 2)
    static = encoder.num_layers * (static + encoder.num_scores + _masks(encoder))
    if encoder.dropout:
        static += encoder.num_tokens * encoder.width
    return FreezingJob(
        id=id,
        kind="fine-tuning",
        arrival_s=arrival_s,
        units=units,
        num_iterations=num_iterations,
        resident_bytes=FLOAT_BYTES * (STATES * weights + encoder.num_biases),
        static_bytes=static,
        freeze_frac=freeze_frac,
        shared_flops=shared_flops(encoder),
    )


def shared_flops(encoder: Encoder) -> float:
    """Operations of an iteration without gradients of weights: forward, and gradients of what is between."""
    through = sum([unit.flops for unit in encoder.units()])
    return 2.0 * through + 12.0 * encoder.num_layers * encoder.batch * encoder.sequence**2 * encoder.width


def plain_bytes(encoder: Encoder, *, fused_attention: bool = False) -> int:
    """Memory of full fine-tuning with plain layers.

    Parameters
    ----------
    encoder : Encoder
        Its shape.
    fused_attention : bool
        Whether attention matrices are computed anew in the backward pass, as fused attention does, instead of kept.
    """
    weights = sum([unit.num_weights for unit in encoder.units()]) + encoder.num_biases
    return FLOAT_BYTES * (STATES + 1) * weights + plain_activations(encoder, fused_attention=fused_attention)


def plain_activations(encoder: Encoder, *, fused_attention: bool = False) -> int:
    """Bytes of activations of full fine-tuning with plain layers, whose parameters are those of `plain_bytes`."""
    # what q, k, v read; q, k, v; what o and up read; two LayerNorms' inputs; then the GELU's input and output
    per_layer = encoder.floats(8 * encoder.width + 2 * encoder.inner + 4)
    if fused_attention:
        per_layer += encoder.floats(encoder.width + encoder.num_heads)  # its output before transposing, log-sums
        per_layer += 2 * encoder.num_tokens * encoder.width * encoder.dropout
    else:
        per_layer += FLOAT_BYTES * encoder.num_scores * (2 if encoder.dropout else 1) + _masks(encoder)
    total = encoder.num_layers * per_layer + encoder.floats(encoder.width + 2)  # and the LayerNorm of the embeddings
    return total + encoder.num_tokens * encoder.width * encoder.dropout


def _masks(encoder: Encoder) -> int:
    """Bytes of dropout's masks in a layer."""
    return (encoder.num_scores + 2 * encoder.num_tokens * encoder.width) * encoder.dropout
