"""One layer of a step as single operations: what each is bound by, and how long it takes alone."""

from __future__ import annotations

from msgspec import Struct

from headway.policies.serving.nanoflow_plan import Operation
from headway.sim.serving.cost.stage import Stage
from headway.sim.serving.price import BatchShape


class Rows(Struct, frozen=True):
    """What a nano-batch computes.

    Parameters
    ----------
    tokens, decodes : int
        All tokens, and those of decodes.
    context_tokens : float
        What the decodes attend to.
    pairs, new_tokens, prompt_context_tokens : float
        Of prompts: pairs of tokens that attend to each other, new tokens, and those in memory before them.
    """

    tokens: int
    decodes: int
    context_tokens: float
    pairs: float
    new_tokens: float
    prompt_context_tokens: float

    def part(self, frac: float) -> Rows:
        """Return a nano-batch with this share of everything."""
        return Rows(
            max(1, round(self.tokens * frac)),
            round(self.decodes * frac),
            self.context_tokens * frac,
            self.pairs * frac,
            self.new_tokens * frac,
            self.prompt_context_tokens * frac,
        )


def rows_of(shape: BatchShape) -> Rows:
    """Return what a whole step computes."""
    return Rows(
        shape.num_tokens,
        shape.num_decodes,
        shape.context_tokens,
        sum(chunk.tokens * (chunk.context_tokens + 0.5 * chunk.tokens) for chunk in shape.chunks),
        sum(chunk.tokens for chunk in shape.chunks),
        sum(chunk.context_tokens for chunk in shape.chunks),
    )


class Layer:
    """The operations of one layer of a stage.

    Their times are those of a step's price (`RooflinePrice`), so that they add up to it.

    Parameters
    ----------
    stage : Stage
        The kernels. Its model must be dense.
    factor : float
        On the time of all kernels, > 0.
    """

    def __init__(self, stage: Stage, factor: float = 1.0) -> None:
        self.stage = stage
        self.factor = factor
        model, shards = stage.model, stage.tensor_parallel
        names = ("kqv", "o") if not model.kv_latent else ("down_kv", "up_q", "up_kv", "o")
        self._products = dict(zip(names, model.attention_shapes(shards), strict=True))
        self._products |= dict(zip(("up", "down"), model.mlp_shapes(shards), strict=True))
        self._known: dict[int, dict[str, float]] = {}
        self._attention = tuple(factor * part / stage.num_layers for part in stage.prefill_s())
        self._decode: dict[int, tuple[float, float]] = {}

    def operations(self, rows: Rows) -> list[Operation]:
        """Return the operations of a nano-batch in their order."""
        times = self._known.get(rows.tokens) or self._by_tokens(rows.tokens)
        first = [Operation(name, "compute", times[name]) for name in self._products if name not in ("o", "up", "down")]
        return [
            *first,
            Operation("decode_attention", "memory", self._decode_s(rows)),
            Operation("prefill_attention", "compute", self._prefill_s(rows)),
            Operation("o", "compute", times["o"]),
            Operation("reduce_attention", "network", times["reduce"]),
            Operation("up", "compute", times["up"]),
            Operation("down", "compute", times["down"]),
            Operation("reduce_mlp", "network", times["reduce"]),
            Operation("elementwise", "memory", times["elementwise"]),
        ]

    def _by_tokens(self, tokens: int) -> dict[str, float]:
        stage = self.stage
        times = {
            name: self.factor * stage.gemm.time_s(tokens, outputs, inputs, stage.accelerator, stage.weights)
            for name, (outputs, inputs) in self._products.items()
        }
        num_bytes = tokens * stage.model.hidden * 2.0
        reduce_s = stage.efficiency.reduce.time_s(num_bytes, stage.tensor_parallel, stage.accelerator)
        times["reduce"] = self.factor * reduce_s
        times["elementwise"] = self.factor * stage.elementwise_s(tokens)
        self._known[tokens] = times
        return times

    def _decode_s(self, rows: Rows) -> float:
        if not rows.decodes:
            return 0.0
        line = self._decode.get(rows.decodes)
        if line is None:
            once_s, token_s = self.stage.decode_s(rows.decodes)
            scale = self.factor / self.stage.num_layers
            line = self._decode[rows.decodes] = once_s * scale, token_s * scale
        return line[0] + line[1] * rows.context_tokens

    def _prefill_s(self, rows: Rows) -> float:
        if not rows.new_tokens:
            return 0.0
        once_s, pair_s, token_s, context_s = self._attention
        return once_s + pair_s * rows.pairs + token_s * rows.new_tokens + context_s * rows.prompt_context_tokens
