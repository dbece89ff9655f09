"""The kernels of one pipeline stage on one accelerator: which run, on what shapes, and for how long."""

from __future__ import annotations

from headway.core.nouns import Seconds
from headway.sim.serving.cost.efficiency import Efficiency, of_type
from headway.sim.serving.cost.experts import Coverage
from headway.sim.serving.cost.hardware import FLOAT_BYTES, Accelerator
from headway.sim.serving.cost.model import ModelFacts
from headway.sim.serving.cost.operators import DecodeFit, ExpertFit, GemmFit, PrefillFit


class Stage:
    """Times of the parts of a step on one stage, at the full share of the compute or at less.

    A stage has ``ceil(layers / stages)`` layers and, as the slowest stage does, the product to the logits.

    Parameters
    ----------
    model : ModelFacts
        What runs.
    accelerator : Accelerator
        On what.
    tensor_parallel, pipeline_parallel : int
        Accelerators that share each layer, and stages; >= 1.
    weights, kv : str
        Types of the numbers.
    efficiency : Efficiency
        How well kernels run.
    """

    def __init__(
        self,
        *,
        model: ModelFacts,
        accelerator: Accelerator,
        tensor_parallel: int,
        pipeline_parallel: int,
        weights: str,
        kv: str,
        efficiency: Efficiency,
    ) -> None:
        self.model, self.accelerator, self.efficiency = model, accelerator, efficiency
        self.tensor_parallel, self.pipeline_parallel = tensor_parallel, pipeline_parallel
        self.weights, self.kv = weights, kv
        self.num_layers = -(-model.num_layers // pipeline_parallel)
        self.gemm = of_type(efficiency.gemm, weights, GemmFit())
        self.prefill = of_type(efficiency.prefill, kv, PrefillFit())
        self.decode = of_type(efficiency.decode, kv, DecodeFit())
        self.experts = of_type(efficiency.experts, weights, ExpertFit())
        self.coverage = Coverage(model.num_experts, model.experts_per_token, self.experts.skew)
        self.moe_frac = model.num_moe_layers / model.num_layers
        self._attention_shapes = model.attention_shapes(tensor_parallel)
        self._mlp_shapes = model.mlp_shapes(tensor_parallel)
        self._moe_shapes = model.mlp_shapes(tensor_parallel, moe=True)
        self.elementwise_numbers = self._elementwise_numbers()

    def layers_s(self, tokens: int, share: float = 1.0) -> Seconds:
        """Return the time of all products, elementwise work and communication of so many tokens, in all layers."""
        if tokens == 0:
            return 0.0
        layer_s = self._gemms_s(self._attention_shapes, tokens, share)
        if self.moe_frac < 1:
            layer_s += (1 - self.moe_frac) * self._gemms_s(self._mlp_shapes, tokens, share)
        if self.moe_frac:
            layer_s += self.moe_frac * (self._gemms_s(self._moe_shapes, tokens, share) + self._experts_s(tokens, share))
        return self.num_layers * (layer_s + self.elementwise_s(tokens) + self._reduce_s(tokens)) + self._send_s(tokens)

    def head_s(self, sequences: int, share: float = 1.0) -> Seconds:
        """Return the time of the products to the logits of so many tokens."""
        if sequences == 0:
            return 0.0
        outputs = -(-self.model.vocab // self.tensor_parallel)
        fit = of_type(self.efficiency.gemm, "bf16", GemmFit())
        return fit.time_s(sequences, outputs, self.model.hidden, self.accelerator, "bf16", share)

    def decode_s(self, num_decodes: int, share: float = 1.0) -> tuple[Seconds, Seconds]:
        """Return (once, per token of context) of the attention of so many decodes, in all layers."""
        if num_decodes == 0:
            return 0.0, 0.0
        fit, on = self.decode, self.accelerator
        numbers = self.model.kv_layer_numbers(self.tensor_parallel)
        kv_heads = 1 if self.model.kv_latent else max(1, self.model.num_kv_heads // self.tensor_parallel)
        crowd = 1 + fit.occupancy / (num_decodes * kv_heads)
        read_s = on.read_s(numbers * FLOAT_BYTES[self.kv]) / fit.memory_frac * crowd
        compute_s = self.model.decode_pair_flops / self.tensor_parallel / (on.bf16_flops * fit.compute_frac * share)
        token_s = self.num_layers * max(read_s, compute_s)
        once_s = self.num_layers * (
            fit.fixed_s + fit.head_s * num_decodes * self.model.num_heads / self.tensor_parallel
        )
        return once_s + token_s * num_decodes, token_s

    def prefill_s(self, share: float = 1.0) -> tuple[Seconds, Seconds, Seconds, Seconds]:
        """Return what attention of prompts takes: once, per pair of tokens, per new token, per token of context."""
        fit, on, model = self.prefill, self.accelerator, self.model
        pair_s = model.pair_flops / self.tensor_parallel / (on.bf16_flops * fit.compute_frac * share)
        value_dim = model.value_head_dim or model.head_dim
        kv_heads = max(1, model.num_kv_heads // self.tensor_parallel)
        numbers = (model.num_heads // self.tensor_parallel + kv_heads) * (model.head_dim + value_dim)
        kept = model.kv_layer_numbers(self.tensor_parallel) * FLOAT_BYTES[self.kv]
        token_s, context_s = on.read_s(numbers * 2.0) / fit.memory_frac, on.read_s(kept) / self.decode.memory_frac
        layers = self.num_layers
        return layers * fit.fixed_s, layers * pair_s, layers * token_s, layers * context_s

    @property
    def kv_token_bytes(self) -> float:
        """Bytes of keys and values of one token, in the layers of one accelerator."""
        return self.num_layers * self.model.kv_layer_numbers(self.tensor_parallel) * FLOAT_BYTES[self.kv]

    def weight_bytes(self, tokens: int) -> float:
        """Return the bytes of weights that a step of so many tokens reads on one accelerator."""
        if tokens == 0:
            return 0.0
        model = self.model
        experts = model.num_moe_layers * self.coverage.distinct(tokens) * model.expert_parameters
        layers = (model.dense_parameters + experts) * FLOAT_BYTES[self.weights] / self.pipeline_parallel
        return (layers + 2.0 * model.vocab * model.hidden) / self.tensor_parallel

    def elementwise_s(self, tokens: int) -> Seconds:
        """Return the time of a layer's norms, rotation, activation and copies."""
        fit = self.efficiency.elementwise
        return fit.fixed_s + self.accelerator.read_s(tokens * self.elementwise_numbers * 2.0) / fit.memory_frac

    def _gemms_s(self, shapes: tuple[tuple[int, int], ...], tokens: int, share: float) -> Seconds:
        on, dtype = self.accelerator, self.weights
        return sum(self.gemm.time_s(tokens, outputs, inputs, on, dtype, share) for outputs, inputs in shapes)

    def _experts_s(self, tokens: int, share: float) -> Seconds:
        visits, distinct = tokens * self.model.experts_per_token, self.coverage.distinct(tokens)
        parameters = self.model.expert_parameters / self.tensor_parallel
        return self.experts.time_s(visits, distinct, parameters, self.accelerator, self.weights, share)

    def _elementwise_numbers(self) -> float:
        """Return numbers of 16 bits that two norms, rotation, activation and writing KV move, per token and layer."""
        model, shards = self.model, self.tensor_parallel
        heads = (model.num_heads + model.num_kv_heads) / shards * model.head_dim
        width = model.intermediate * (1 - self.moe_frac) + model.shared_intermediate * self.moe_frac
        kv = model.kv_layer_numbers(shards)
        return 8.0 * model.hidden + 2.0 * heads + (model.num_mlps + 1) * width / shards + 2.0 * kv

    def _reduce_s(self, tokens: int) -> Seconds:
        """Return the time of a layer's two all-reduces."""
        num_bytes = tokens * self.model.hidden * 2.0
        return 2.0 * self.efficiency.reduce.time_s(num_bytes, self.tensor_parallel, self.accelerator)

    def _send_s(self, tokens: int) -> Seconds:
        if self.pipeline_parallel == 1:
            return 0.0
        return self.efficiency.send.time_s(tokens * self.model.hidden * 2.0 / self.tensor_parallel, self.accelerator)
