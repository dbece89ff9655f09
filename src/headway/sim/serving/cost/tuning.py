"""The price of fine-tuning an adapter beside frozen weights, unit by unit, from the same kernels as that of steps."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.sim.serving.cost.efficiency import EngineFit, of_type
from headway.sim.serving.cost.hardware import FLOAT_BYTES
from headway.sim.serving.cost.operators import GemmFit
from headway.sim.serving.cost.roofline import DRAWS_ALL, RooflinePrice
from headway.sim.serving.cost.stage import Stage
from headway.sim.serving.price import Chunk
from headway.sim.serving.units import UnitShape

ATTENTION_BACKWARD = 2.5
"""Products of the gradients of attention to those of attention itself: five for two, scores computed anew."""
LORA_BACKWARD = 2.0
"""Gradients of the adapter's input and of its weights, each as much as its forward pass."""
ELEMENTWISE_BACKWARD = 2.0
"""Gradients of norms and activations read what came in and what comes back."""
LOSS_BYTES = 10.0
"""Per logit: written and read in 16 bits, its gradient once, and the softmax in 32. ASSUMPTION."""
OPTIMIZER_BYTES = 28.0
"""Per weight of the adapter: AdamW reads weight, gradient and two moments in 32 bits, and writes three of them."""
UNIT_START_S: Seconds = 5e-5
"""Launching a unit and hearing of its end. ASSUMPTION."""


class RooflineUnits:
    """Prices units of LoRA fine-tuning of one instance; a `UnitPrice`.

    Per layer: a forward pass takes what the layer takes for as many tokens of prompts (products, elementwise work,
    communication, causal attention), and the adapter's two thin products beside each of the layer's. Base weights are
    frozen: of a backward pass only the gradients of activations are left, with as many products again, attention two
    and a half times, elementwise work twice. Nothing is computed anew, since activations are kept. The last layer
    comes with the logits of all tokens and the loss. An update moves the adapter and its optimizer's state.

    A share of the compute counts as in the prices of steps (`RooflinePrice`).

    Parameters
    ----------
    price : RooflinePrice
        Of the steps of the same instance, which must not be in pipeline stages.

    Raises
    ------
    ConfigError
        When the instance is in pipeline stages.
    """

    def __init__(self, price: RooflinePrice) -> None:
        if price.stage.pipeline_parallel > 1:
            raise ConfigError(
                "tune: an instance that is fine-tuned beside serving must be one stage, got pipeline_parallel = "
                f"{price.stage.pipeline_parallel}. Try tensor_parallel instead."
            )
        self._stage: Stage = price.stage
        self._engine: EngineFit = price.engine
        self._shapes = _shapes(price.stage)
        self._known: dict[UnitShape, Seconds] = {}

    def num_parameters(self, rank: int) -> int:
        """Return how many weights an adapter of a rank has, on one accelerator."""
        width = sum(outputs + inputs for outputs, inputs in self._shapes)
        return rank * width * self._stage.num_layers

    def unit_s(self, shape: UnitShape) -> Seconds:
        """Return how long it takes alone with its share of the compute, in seconds."""
        found = self._known.get(shape)
        if found is None:
            if shape.share < DRAWS_ALL:
                found = self.unit_s(replace(shape, share=DRAWS_ALL)) * DRAWS_ALL / shape.share
            else:
                found = UNIT_START_S + self._engine.kernel_factor * self._kernels_s(shape)
            self._known[shape] = found
        return found

    def unit_reads_frac(self, shape: UnitShape) -> float:
        """Return how much it reads, as a share of what products of matrices get from the memory."""
        stage = self._stage
        read_s = stage.accelerator.read_s(self._moved_bytes(shape)) / stage.gemm.memory_frac
        return min(1.0, read_s / self.unit_s(shape))

    def chunk_of(self, shape: UnitShape) -> Chunk | None:
        """Return the chunk of a prompt that computes about as much through as many layers; None of an update."""
        if shape.phase == "update":
            return None
        return Chunk(shape.tokens, 0, min(1.0, shape.num_layers / self._stage.num_layers))

    # One kernel after the other --------------------------------------------------------------------------------------

    def _kernels_s(self, shape: UnitShape) -> Seconds:
        if shape.phase == "update":
            return self._update_s(shape)
        is_back = shape.phase == "backward"
        total_s = shape.num_layers * self._layer_s(shape, is_back)
        return total_s + (self._head_s(shape.tokens, shape.share, is_back) if shape.at_head else 0.0)

    def _layer_s(self, shape: UnitShape, is_back: bool) -> Seconds:
        stage, tokens, share = self._stage, shape.tokens, shape.share
        layer_s = stage.layers_s(tokens, share) / stage.num_layers
        once_s, pair_s, token_s, _ = (part / stage.num_layers for part in stage.prefill_s(share))
        attention_s = once_s + tokens * (token_s + 0.5 * min(tokens, shape.example_tokens) * pair_s)
        lora_s = self._lora_s(tokens, shape.rank, share)
        if not is_back:
            return layer_s + attention_s + lora_s
        more_s = (ELEMENTWISE_BACKWARD - 1) * stage.elementwise_s(tokens)
        return layer_s + more_s + ATTENTION_BACKWARD * attention_s + LORA_BACKWARD * lora_s

    def _lora_s(self, tokens: int, rank: int, share: float) -> Seconds:
        """Return the time of the adapter's products of one layer."""
        stage = self._stage
        fit, on = of_type(stage.efficiency.gemm, "bf16", GemmFit()), stage.accelerator
        return sum(
            fit.time_s(tokens, rank, inputs, on, "bf16", share) + fit.time_s(tokens, outputs, rank, on, "bf16", share)
            for outputs, inputs in self._shapes
        )

    def _head_s(self, tokens: int, share: float, is_back: bool) -> Seconds:
        """Return the time of the logits of all tokens with the loss, or of the gradient of what they are made of."""
        stage = self._stage
        logits_s = stage.head_s(tokens, share)
        if is_back:
            return logits_s
        moved = LOSS_BYTES * tokens * stage.model.vocab / stage.tensor_parallel
        return logits_s + stage.accelerator.read_s(moved) / stage.efficiency.elementwise.memory_frac

    def _update_s(self, shape: UnitShape) -> Seconds:
        fit = self._stage.efficiency.elementwise
        read_s = self._stage.accelerator.read_s(self._optimizer_bytes(shape))
        return shape.num_layers * fit.fixed_s + read_s / fit.memory_frac

    def _optimizer_bytes(self, shape: UnitShape) -> float:
        return OPTIMIZER_BYTES * self.num_parameters(shape.rank) * shape.num_layers / self._stage.num_layers

    def _moved_bytes(self, shape: UnitShape) -> float:
        """Return what a unit reads and writes: its layers' weights once, and activations."""
        stage, tokens, layers = self._stage, shape.tokens, shape.num_layers
        if shape.phase == "update":
            return self._optimizer_bytes(shape)
        head = 2.0 * stage.model.vocab * stage.model.hidden / stage.tensor_parallel
        weights = (stage.weight_bytes(tokens) - head) / stage.num_layers
        passes = ELEMENTWISE_BACKWARD if shape.phase == "backward" else 1.0
        activations = 2.0 * tokens * (passes * stage.elementwise_numbers + sum(o + i for o, i in self._shapes))
        logits = LOSS_BYTES * tokens * stage.model.vocab / stage.tensor_parallel
        return layers * (weights + activations) + (head + logits if shape.at_head else 0.0)


def _shapes(stage: Stage) -> tuple[tuple[int, int], ...]:
    """Return (outputs, inputs) of the products of a layer that have an adapter: all but those of routed experts."""
    model, shards = stage.model, stage.tensor_parallel
    is_mixture = stage.moe_frac == 1
    return (*model.attention_shapes(shards), *model.mlp_shapes(shards, moe=is_mixture)[1 if is_mixture else 0 :])


def kept_token_bytes(stage: Stage) -> float:
    """Return the bytes of activations that a token keeps from its forward to its backward pass, on one accelerator.

    What goes into every product and into both norms, queries, keys and values, and both halves of a gated MLP, in 16
    bits, in all layers: a trainer that computes nothing anew keeps about as much.
    """
    shapes = _shapes(stage)
    into = sum(inputs for _, inputs in shapes) + 2 * stage.model.hidden
    out_of = shapes[0][0] + (shapes[-2][0] if len(shapes) > 2 else 0)
    return stage.num_layers * (into + out_of) * FLOAT_BYTES["bf16"]
