"""Find out how a loaded model attends, and plug our attention in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headway.core.errors import ConfigError
from headway.engines import pretrained
from headway.engines.llm.model import attention
from headway.engines.llm.model.attention import KvPools, KvShape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WATCH = "headway_watch"
"""Name of the attention implementation that only looks at what it is asked."""


@dataclass(frozen=True)
class Attending:
    """How one layer attends: the module, what it keeps per token, and what it asks of attention."""

    module: nn.Module
    kv: KvShape
    num_heads: int
    scale: float
    sliding_window: int
    softcap: float


class _Watch:
    """An attention implementation that notes what each layer asks for and answers with zeros."""

    def __init__(self) -> None:
        self.seen: dict[int, Attending] = {}
        self.unknown: set[str] = set()

    def __call__(
        self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: object, **asked: Any
    ) -> tuple[torch.Tensor, None]:
        scale = asked.get("scaling")
        self.seen[module.layer_idx] = Attending(
            module=module,
            kv=KvShape(key.shape[1], key.shape[3], value.shape[3]),
            num_heads=query.shape[1],
            scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
            sliding_window=int(asked.get("sliding_window") or 0),
            softcap=float(asked.get("softcap") or 0.0),
        )
        if asked.get("s_aux") is not None:
            self.unknown.add("attention sinks")
        if not getattr(module, "is_causal", True):
            self.unknown.add("attention in both directions")
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3]), None


def find_layers(model: PreTrainedModel, num_layers: int) -> list[nn.Module]:
    """Return the decoder layers of a model, first to last.

    Raises
    ------
    ConfigError
        When they are not one list of modules.
    """
    layers = pretrained.find_layers(model, num_layers)
    if layers is not None:
        return layers
    raise _cannot(model, f"its {num_layers} layers are not one list of modules")


def find_attention(model: PreTrainedModel, num_layers: int) -> list[Attending]:
    """Run one token through the model to see which module attends in each layer, and how.

    Raises
    ------
    ConfigError
        When some layer does not attend through the attention interface, or asks for what our attention cannot do.
    """
    from transformers import AttentionInterface

    watch = _Watch()
    AttentionInterface.register(WATCH, watch)
    try:
        model.set_attn_implementation(WATCH)
        with torch.no_grad():
            model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=model.device), use_cache=False)
    except Exception as error:
        raise _cannot(model, f"running one token failed with {type(error).__name__}: {error}") from error
    if set(watch.seen) != set(range(num_layers)):
        raise _cannot(model, f"only {len(watch.seen)} of {num_layers} layers do")
    if watch.unknown:
        raise _cannot(model, f"it needs {' and '.join(sorted(watch.unknown))}")
    return [watch.seen[index] for index in range(num_layers)]


def _cannot(model: PreTrainedModel, why: str) -> ConfigError:
    return ConfigError(
        f"model {model.name_or_path}: every layer must attend through the attention interface of transformers, but in "
        f"{type(model).__name__} {why}. Choose another architecture."
    )


def plug_attention(model: PreTrainedModel, attending: list[Attending], pools: KvPools) -> None:
    """Let every layer attend through the paged pools from now on."""
    attention.register()
    model.set_attn_implementation(attention.NAME)
    for layer in attending:
        setattr(layer.module, attention.POOLS, pools)
