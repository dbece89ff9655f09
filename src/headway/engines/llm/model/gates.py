"""Gates around decoder layers: only the pieces whose range covers a layer pass it, the others flow around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headway.engines.llm.model.step import Segment, StepBatch, current

if TYPE_CHECKING:
    from torch import Tensor, nn

    from headway.engines.llm.model.fused import FusedLayers
    from headway.engines.llm.model.stored import StoredStates


class Gate:
    """Stands in for the `forward` of one decoder layer.

    Attributes of the layer stay visible to model code, since only its `forward` is replaced.

    Parameters
    ----------
    index : int
        Which layer.
    layer : nn.Module
        The decoder layer.
    stored : StoredStates
        Where pieces wait between two layers.

    Attributes
    ----------
    fused : FusedLayers or None
        All layers as one kernel, once adopted. The first gate runs it for steps that can be fused, the others then let
        everything pass untouched.
    """

    def __init__(self, index: int, layer: nn.Module, stored: StoredStates) -> None:
        self.index = index
        self.fused: FusedLayers | None = None
        self._forward = layer.forward
        self._stored = stored
        layer.forward = self.forward

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the layer on the tokens that pass it; `hidden_states [1, tokens, width]`."""
        step = current()
        if self.fused is not None and step.fusable:
            return hidden_states if self.index else self.fused.run(step, hidden_states[0], self._stored).unsqueeze(0)
        if not step.ragged_layers:
            return self._forward(hidden_states, *args, **kwargs)
        return self._pass_some(step, hidden_states, args, kwargs)

    def _pass_some(self, step: StepBatch, hidden_states: Tensor, args: Any, kwargs: Any) -> Any:
        segment = next((s for s in step.segments if s.first <= self.index < s.last), None)
        hidden = hidden_states.clone()
        self._stored.put_back(step, self.index, hidden[0])
        out: Any = hidden
        if segment is not None:
            out = self._run_on(step, segment, hidden, args, kwargs)
        self._stored.keep(step, self.index + 1, (out[0] if isinstance(out, tuple) else out)[0])
        return out

    def _run_on(self, step: StepBatch, segment: Segment, hidden: Tensor, args: Any, kwargs: Any) -> Any:
        step.enter(segment)
        if segment.tokens is None:
            return self._forward(hidden, *args, **kwargs)
        tokens, num_tokens = segment.tokens, hidden.shape[1]
        args = tuple(_picked(value, tokens, num_tokens) for value in args)
        kwargs = {name: _picked(value, tokens, num_tokens) for name, value in kwargs.items()}
        out = self._forward(hidden.index_select(1, tokens), *args, **kwargs)
        hidden.index_copy_(1, tokens, out[0] if isinstance(out, tuple) else out)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden


def _picked(value: Any, tokens: Tensor, num_tokens: int) -> Any:
    """Pick the tokens that pass from an argument of a layer, if it has one entry per token `[1, tokens, ...]`."""
    if isinstance(value, tuple):
        return tuple(_picked(item, tokens, num_tokens) for item in value)
    if hasattr(value, "index_select") and value.dim() >= 2 and value.shape[1] == num_tokens:
        return value.index_select(1, tokens)
    return value
