"""The short way through a model whose layers are fused: embedding, layers, final norm, output layer, and nothing else.

The forward of a `transformers` model costs more than half a millisecond of Python per step around its layers. Where
these four parts are all there is to a model, calling them one after the other gives the same logits without it. Whether
they are is found out by comparing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from headway.engines.llm.model.recognise import norm_rule

if TYPE_CHECKING:
    from torch import Tensor, nn

    from headway.engines.llm.model.fused import FusedLayers
    from headway.engines.llm.model.step import StepBatch
    from headway.engines.llm.model.stored import StoredStates
    from headway.engines.llm.native import Kernels

_PARTS = {"embed_tokens", "layers", "norm", "rotary_emb"}


class Shortcut:
    """Computes steps without adapters.

    Parameters
    ----------
    model : PreTrainedModel
        The whole model, with packed linears.
    fused : FusedLayers
        Its decoder layers.
    stored : StoredStates
        Where pieces wait between two layers.
    kernels : Kernels
        Who computes the final norm.
    """

    def __init__(self, model: Any, fused: FusedLayers, stored: StoredStates, kernels: Kernels) -> None:
        self._embed: nn.Module = model.base_model.embed_tokens
        self._head: nn.Module = model.get_output_embeddings()
        self._norm: Any = model.base_model.norm
        self._weight = cast("Tensor", self._norm.weight).detach()
        self._rule = norm_rule(self._norm)
        self._fused = fused
        self._stored = stored
        self._kernels = kernels

    def forward(self, step: StepBatch) -> Tensor | None:
        """Compute one step: float32 logits `[sampled, vocab]`, or None when nothing is sampled."""
        hidden = self._fused.run(step, self._embed(step.input_ids), self._stored)
        if step.sampled is None:
            return None
        logits: Tensor = self._head(self._normed(hidden.index_select(0, step.sampled)))
        return logits

    def _normed(self, hidden: Tensor) -> Tensor:
        if self._rule is None:
            return cast("Tensor", self._norm(hidden))
        return self._kernels.rms_norm(hidden, self._weight, self._rule.eps, offset=self._rule.offset)[0]


def has_only_known_parts(model: Any) -> bool:
    """Whether a model is built of an embedding, layers, a norm and an output layer, as far as its modules tell."""
    return {name for name, _ in model.base_model.named_children()} == _PARTS and len(list(model.children())) == 2
