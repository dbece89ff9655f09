"""The price of a step from what its kernels compute and read: a roofline with fitted shares of the peaks."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.nouns import Seconds
from headway.sim.serving.cost.efficiency import EngineFit
from headway.sim.serving.cost.stage import Stage
from headway.sim.serving.price import BatchShape, Chunk

DRAWS_ALL = 1 / 3
"""The share of an accelerator's cores that can draw all of its memory bandwidth; an assumption."""


class RooflinePrice:
    """Prices steps of one stage of an instance; a `StepPrice`.

    A step takes the engine's own time, plus its kernels': products, elementwise work and communication by its tokens
    (memoised, so that their formulas may be as fine as the measurements allow), attention of decodes (affine in their
    context), attention of prompts (causal pairs), and the logits of every request in it. Kernels follow each
    other; none overlap.

    A step that gets a share of the compute has its arithmetic slowed by it, and its memory traffic not as long as the
    share is at least `DRAWS_ALL`: so many cores can draw all the bandwidth. Below, everything slows down alike. Chunks
    that pass through some of the layers are taken to pass through the same ones, and the engine's time per token to be
    spent in equal parts.

    Parameters
    ----------
    stage : Stage
        The kernels.
    engine : EngineFit
        What the engine adds.
    """

    def __init__(self, *, stage: Stage, engine: EngineFit) -> None:
        self.stage = stage
        self.engine = engine
        self._at = {1.0: _AtShare(stage, engine, 1.0)}

    def step_s(self, shape: BatchShape) -> Seconds:
        """Return the time of one run, in seconds. Of an instance in pipeline stages, the time of one stage."""
        if shape.share < DRAWS_ALL:
            return self.step_s(replace(shape, share=DRAWS_ALL)) * DRAWS_ALL / shape.share
        costs = self._at.get(shape.share) or self._add(shape.share)
        if shape.chunks or shape.drafted_tokens:
            return costs.mixed_s(shape.num_decodes, shape.context_tokens, shape.chunks, shape.drafted_tokens)
        base_s, token_s = costs.lines.get(shape.num_decodes) or costs.line(shape.num_decodes)
        return base_s + token_s * shape.context_tokens

    def decode_line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return (base_s, per_token_s) of a step of `num_decodes` decodes and nothing else, at the full share."""
        costs = self._at[1.0]
        return costs.lines.get(num_decodes) or costs.line(num_decodes)

    def reads_frac(self, shape: BatchShape) -> float:
        """Return how much a step reads, as a share of what products of matrices get from the memory."""
        stage = self.stage
        attended = shape.context_tokens + sum([chunk.context_tokens * chunk.layers_frac for chunk in shape.chunks])
        layers_frac = max([chunk.layers_frac for chunk in shape.chunks], default=1.0) if not shape.num_decodes else 1.0
        moved = layers_frac * stage.weight_bytes(shape.num_tokens) + stage.kv_token_bytes * attended
        return min(1.0, stage.accelerator.read_s(moved) / stage.gemm.memory_frac / self.step_s(shape))

    def _add(self, share: float) -> _AtShare:
        self._at[share] = _AtShare(self.stage, self.engine, share)
        return self._at[share]


class _AtShare:
    """All that is known of steps at one share of the compute."""

    def __init__(self, stage: Stage, engine: EngineFit, share: float) -> None:
        self._stage, self._engine, self._share = stage, engine, share
        self.lines: dict[int, tuple[Seconds, Seconds]] = {}
        self._layers: dict[int, Seconds] = {}
        self._heads: dict[int, Seconds] = {}
        self._reading: dict[int, tuple[Seconds, Seconds]] = {}
        factor = engine.kernel_factor
        self._once_s, self._pair_s, self._token_s, self._context_s = (factor * part for part in stage.prefill_s(share))

    def line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return, and remember, (base_s, per_token_s) of a step of decodes."""
        once_s, token_s = self._stage.decode_s(num_decodes, self._share)
        factor = self._engine.kernel_factor
        base_s = self._layers_s(num_decodes) + self._head_s(num_decodes) + factor * once_s
        self.lines[num_decodes] = base_s, factor * token_s
        return self.lines[num_decodes]

    def mixed_s(self, num_decodes: int, context_tokens: int, chunks: tuple[Chunk, ...], drafted: int = 0) -> Seconds:
        """Return the time of a step with chunks of prompts, or with drafted tokens."""
        new, attention_s, whole, engine = 0, 0.0, True, self._engine
        for chunk in chunks:
            tokens, context, frac = chunk.tokens, chunk.context_tokens, chunk.layers_frac
            part_s = tokens * ((context + 0.5 * tokens) * self._pair_s + self._token_s) + context * self._context_s
            new += tokens
            if frac == 1:
                attention_s += part_s
            else:
                attention_s += part_s * frac
                whole = False
        if whole:
            total_s = attention_s + (self._once_s if chunks else 0.0) + engine.token_s * new
            layers_s = self._layers_s(num_decodes + drafted + new)
        else:
            passes = sum([chunk.tokens * chunk.layers_frac for chunk in chunks])
            total_s = (
                attention_s + self._once_s * max([chunk.layers_frac for chunk in chunks]) + engine.token_s * passes
            )
            layers_s = self._partly_s(num_decodes + drafted, chunks)
        total_s += self._head_s(num_decodes + len(chunks) + drafted)
        if drafted:
            total_s -= engine.sequence_s * drafted  # drafted tokens are no requests of their own
        total_s += layers_s
        if num_decodes:
            base_s, token_s = self._reading.get(num_decodes) or self._read(num_decodes)
            total_s += base_s + token_s * context_tokens
        return total_s

    def _read(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return, and remember, the line of a step of decodes without what they share with prompts."""
        base_s, token_s = self.lines.get(num_decodes) or self.line(num_decodes)
        found = base_s - self._layers_s(num_decodes) - self._head_s(num_decodes), token_s
        self._reading[num_decodes] = found
        return found

    def _partly_s(self, num_decodes: int, chunks: tuple[Chunk, ...]) -> Seconds:
        """Return the time of the layers when chunks pass through some: from those that all share to those with none."""
        total_s, tokens, upto = 0.0, num_decodes + sum(chunk.tokens for chunk in chunks), 0.0
        for chunk in sorted(chunks, key=lambda one: one.layers_frac):
            total_s += (chunk.layers_frac - upto) * self._layers_s(tokens)
            tokens, upto = tokens - chunk.tokens, chunk.layers_frac
        return total_s + (1 - upto) * self._layers_s(num_decodes)

    def _layers_s(self, tokens: int) -> Seconds:
        if (known := self._layers.get(tokens)) is None:
            known = self._layers[tokens] = self._engine.kernel_factor * self._stage.layers_s(tokens, self._share)
        return known

    def _head_s(self, sequences: int) -> Seconds:
        """Return the time of the logits, and what the engine does per step and per request."""
        if (known := self._heads.get(sequences)) is None:
            engine = self._engine
            kernels_s = engine.kernel_factor * self._stage.head_s(sequences, self._share)
            known = self._heads[sequences] = engine.step_s + engine.sequence_s * sequences + kernels_s
        return known
