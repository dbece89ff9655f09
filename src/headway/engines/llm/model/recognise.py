"""Recognise decoder layers that the fused kernel can run, by their structure and by what their parts compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from headway.engines.llm.model.linears import PackedLinear, PackedProduct
from headway.engines.llm.native.layer import DecoderLayer

if TYPE_CHECKING:
    from headway.engines.llm.model.plugging import Attending

_ATTENTION = ({"q_proj", "k_proj", "v_proj", "o_proj"}, {"qkv_proj", "o_proj"})
_HEAD_NORMS = {"q_norm", "k_norm"}
_MLP = ({"gate_proj", "up_proj", "down_proj"}, {"gate_up_proj", "down_proj"})
_NORMS = {"input_layernorm", "post_attention_layernorm"}
_SANDWICH = _NORMS | {"pre_feedforward_layernorm", "post_feedforward_layernorm"}


def recognise(layer: nn.Module, attending: Attending) -> DecoderLayer | None:
    """Describe a decoder layer to the fused kernel, or return None when it is of another build.

    Structure alone decides here; whoever adopts the description compares what both compute.

    Parameters
    ----------
    layer : nn.Module
        A decoder layer of `transformers` with packed linears.
    attending : Attending
        How it attends.
    """
    parts = _parts(layer)
    if set(parts) - {"self_attn", "mlp"} not in (_NORMS, _SANDWICH) or not {"self_attn", "mlp"} <= set(parts):
        return None
    own, mlp = _parts(parts["self_attn"]), _parts(parts["mlp"])
    if set(own) - _HEAD_NORMS not in _ATTENTION or set(mlp) - {"act_fn", "activation_fn"} not in _MLP:
        return None
    products = [_whole(own, "q_proj", "qkv_proj"), _whole(own, "o_proj"), _whole(mlp, "gate_proj", "gate_up_proj")]
    qkv, output, gate_up, down = *products, _whole(mlp, "down_proj")
    activation = _activation(mlp, parts["mlp"])
    norms = [part for name, part in {**parts, **own}.items() if name.endswith("norm")]
    rules = {norm_rule(norm) for norm in norms}
    rule = rules.pop()
    if not (qkv and output and gate_up and down) or activation is None or rules or rule is None:
        return None
    if not attending.kv.unpadded or not _heads_agree(own, attending.kv.key_dim):
        return None
    norm_of = _norm_weights(parts, own)
    return DecoderLayer(
        input_norm=norm_of["input"], post_attention_norm=norm_of["mlp_in"],
        q_norm=norm_of.get("q"), k_norm=norm_of.get("k"),
        attention_out_norm=norm_of.get("attention_out"), mlp_out_norm=norm_of.get("mlp_out"),
        qkv=qkv.packed, output=output.packed, gate_up=gate_up.packed, down=down.packed,
        qkv_bias=qkv.bias, output_bias=output.bias, gate_up_bias=gate_up.bias, down_bias=down.bias,
        num_heads=attending.num_heads, num_kv_heads=attending.kv.num_kv_heads, head_dim=attending.kv.key_dim,
        scale=attending.scale, sliding_window=attending.sliding_window, softcap=attending.softcap,
        eps=rule.eps, norm_offset=rule.offset, activation=activation,
    )  # fmt: skip


def _parts(module: nn.Module) -> dict[str, nn.Module]:
    """Return the children of a module that do something while serving."""
    idle = (nn.Dropout, nn.Identity)
    return {name: child for name, child in module.named_children() if not isinstance(child, idle)}


def _whole(parts: dict[str, nn.Module], *names: str) -> PackedProduct | None:
    """Return the product that the first of `names` belongs to, merged siblings included."""
    linear = next(parts[name] for name in names if name in parts)
    return linear.product if isinstance(linear, PackedLinear) else None


def _norm_weights(parts: dict[str, nn.Module], own: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Say which norm is which; in a sandwich the one "post attention" comes before the residual is added."""
    sandwich = "pre_feedforward_layernorm" in parts
    modules = {
        "input": parts["input_layernorm"],
        "mlp_in": parts["pre_feedforward_layernorm" if sandwich else "post_attention_layernorm"],
        "attention_out": parts["post_attention_layernorm"] if sandwich else None,
        "mlp_out": parts.get("post_feedforward_layernorm"),
        "q": own.get("q_norm"),
        "k": own.get("k_norm"),
    }
    return {name: cast(Tensor, norm.weight).detach() for name, norm in modules.items() if norm is not None}


def _heads_agree(own: dict[str, nn.Module], head_dim: int) -> bool:
    return all(cast(Tensor, own[name].weight).shape == (head_dim,) for name in _HEAD_NORMS & set(own))


class NormRule(NamedTuple):
    """How an RMSNorm normalises: what it adds to the mean square, and to its weight."""

    eps: float
    offset: float


def norm_rule(norm: Any) -> NormRule | None:
    """Return the rule of an RMSNorm, its offset found by trying 0 and 1; None when it is no RMSNorm."""
    weight = getattr(norm, "weight", None)
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    if weight is None or eps is None or weight.dim() != 1 or getattr(norm, "bias", None) is not None:
        return None
    x = torch.linspace(-2.0, 3.0, len(weight), dtype=torch.float32).to(weight)
    unit = x.float() * torch.rsqrt(x.float().square().mean() + eps)
    got = norm(x.unsqueeze(0))[0].float()
    tolerance = 1e-4 if weight.dtype == torch.float32 else 0.05
    for offset in (0.0, 1.0):
        if torch.allclose(got, unit * (weight.float() + offset), rtol=tolerance, atol=tolerance):
            return NormRule(float(eps), offset)
    return None


def _activation(parts: dict[str, nn.Module], mlp: Any) -> Literal["silu", "gelu_tanh"] | None:
    act: Callable[[Tensor], Tensor] | None = next(
        (found for name in ("act_fn", "activation_fn") if (found := parts.get(name) or getattr(mlp, name, None))), None
    )
    if act is None:
        return None
    x = torch.linspace(-4.0, 4.0, 33)
    if torch.allclose(act(x), nn.functional.silu(x), atol=1e-5):
        return "silu"
    return "gelu_tanh" if torch.allclose(act(x), nn.functional.gelu(x, approximate="tanh"), atol=1e-5) else None
