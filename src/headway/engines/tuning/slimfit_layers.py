"""Models whose layers are exchanged for slim ones, for as long as they are fine-tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from headway.engines.tuning import slimfit_attention
from headway.engines.tuning.slimfit_functions import LARGE_FRAC, SlimDropout, SlimGelu, SlimLayerNorm, SlimLinear


class Linear(nn.Module):
    """Stands for a linear layer, whose weights it shares."""

    def __init__(self, plain: nn.Linear, in_bytes: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.in_bytes = plain.weight, plain.bias, in_bytes

    def forward(self, input: Tensor) -> Tensor:
        """Return what the plain layer would, for `[..., in_features]`."""
        return SlimLinear.apply(input, self.weight, self.bias, self.in_bytes)  # type: ignore[no-any-return, no-untyped-call]


class LayerNorm(nn.Module):
    """Stands for a LayerNorm over the last dimension, whose weights it shares."""

    def __init__(self, plain: nn.LayerNorm, large_frac: float) -> None:
        super().__init__()
        self.large_frac = large_frac
        self.weight, self.bias, self.eps = plain.weight, plain.bias, plain.eps

    def forward(self, input: Tensor) -> Tensor:
        """Return what the plain layer would, for `[..., width]`."""
        return SlimLayerNorm.apply(input, self.weight, self.bias, self.eps, self.large_frac)  # type: ignore[no-any-return, no-untyped-call]


class Gelu(nn.Module):
    """Stands for the exact GELU."""

    def forward(self, input: Tensor) -> Tensor:
        """Return what the plain layer would."""
        return SlimGelu.apply(input)  # type: ignore[no-any-return, no-untyped-call]


class Dropout(nn.Module):
    """Stands for dropout; its dice are other than the plain layer's."""

    def __init__(self, dropped_frac: float) -> None:
        super().__init__()
        self.p = dropped_frac

    def forward(self, input: Tensor) -> Tensor:
        """Drop some numbers while training."""
        if not self.training or not self.p:
            return input
        return SlimDropout.apply(input, self.p)  # type: ignore[no-any-return, no-untyped-call]


@contextmanager
def slim(model: nn.Module, norm_frac: float = LARGE_FRAC) -> Iterator[nn.Module]:
    """Exchange a model's layers for slim ones inside the ``with``; names of weights stay, and so do the weights.

    Linear layers, LayerNorms with weights over the last dimension, the exact GELU and dropout are exchanged, and the
    attention of models of transformers that let it be chosen. Everything else stays, and keeps what it always kept.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place.
    norm_frac : float
        The share of its output, largest first, that a frozen LayerNorm keeps, in (0, 1]; 0.1, the paper's.

    Yields
    ------
    torch.nn.Module
        The same model.
    """
    widths = Counter(module.in_features for module in model.modules() if isinstance(module, nn.Linear))
    usual = widths.most_common(1)[0][0] if widths else 0
    exchanged = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()]
    attention = _attention_of(model)
    try:
        for parent, name, child in exchanged:
            if (twin := _twin(child, usual, norm_frac)) is not None:
                setattr(parent, name, twin.train(child.training))
        if attention is not None:
            slimfit_attention.register()
            model.set_attn_implementation(slimfit_attention.NAME)  # type: ignore[operator]
        yield model
    finally:
        for parent, name, child in exchanged:
            setattr(parent, name, child)
        if attention is not None:
            model.set_attn_implementation(attention)  # type: ignore[operator]


def _twin(layer: nn.Module, usual_width: int, norm_frac: float) -> nn.Module | None:
    """Return what stands for a layer, or None where it stays."""
    if type(layer) is nn.Linear:
        return Linear(layer, in_bytes=layer.in_features >= 2 * usual_width)
    if type(layer) is nn.LayerNorm and len(layer.normalized_shape) == 1 and layer.elementwise_affine:
        return LayerNorm(layer, norm_frac)
    if (type(layer) is nn.GELU and layer.approximate == "none") or type(layer).__name__ == "GELUActivation":
        return Gelu()
    return Dropout(layer.p) if type(layer) is nn.Dropout else None


def _attention_of(model: nn.Module) -> str | None:
    """Return which attention a model of transformers runs with, None where it cannot be chosen."""
    if not getattr(model, "_supports_attention_backend", False):
        return None
    return str(model.config._attn_implementation)  # type: ignore[union-attr]
