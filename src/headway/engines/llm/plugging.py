"""Plug the engine's parts into a loaded model: attention and KV memory, gates, packed linears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from headway.core.errors import ConfigError
from headway.engines.llm import attention
from headway.engines.llm.attention import KvShape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHAPES = "headway_shapes"
"""Name of the attention implementation that only looks at shapes."""


def find_layers(model: PreTrainedModel, num_layers: int) -> list[nn.Module]:
    """Return the decoder layers of a model, first to last.

    Raises
    ------
    ConfigError
        When they are not one list of modules.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == num_layers:
            return list(module)
    raise ConfigError(
        f"model {model.name_or_path}: must have its {num_layers} decoder layers in one list, but "
        f"{type(model).__name__} does not. Choose another architecture."
    )


class _ShapeWatch:
    """An attention implementation that notes what each layer asks for and answers with zeros."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[nn.Module, KvShape]] = {}
        self.extras: set[str] = set()

    def __call__(
        self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: object, **kwargs: Any
    ) -> tuple[torch.Tensor, None]:
        self.seen[module.layer_idx] = (module, KvShape(key.shape[1], key.shape[3], value.shape[3]))
        if kwargs.get("s_aux") is not None:
            self.extras.add("attention sinks")
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[3]), None


def find_attention(model: PreTrainedModel, num_layers: int) -> list[tuple[nn.Module, KvShape]]:
    """Run one token through the model to see which module attends in each layer, and what it keeps.

    Raises
    ------
    ConfigError
        When some layer does not attend through the attention interface, or asks for what our attention cannot do.
    """
    from transformers import AttentionInterface

    watch = _ShapeWatch()
    AttentionInterface.register(SHAPES, watch)
    try:
        model.set_attn_implementation(SHAPES)
        with torch.inference_mode():
            model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=model.device), use_cache=False)
    except ConfigError:
        raise
    except Exception as error:
        raise _cannot(model, f"running one token failed with {type(error).__name__}") from error
    if set(watch.seen) != set(range(num_layers)):
        raise _cannot(model, f"{len(watch.seen)} of {num_layers} layers use the attention interface of transformers")
    if watch.extras:
        raise _cannot(model, f"it needs {', '.join(sorted(watch.extras))}")
    return [watch.seen[index] for index in range(num_layers)]


def _cannot(model: PreTrainedModel, why: str) -> ConfigError:
    return ConfigError(
        f"model {model.name_or_path}: every layer must attend through the attention interface of transformers, but for "
        f"{type(model).__name__} {why}. Choose another architecture."
    )


def plug_attention(model: PreTrainedModel, attending: list[tuple[nn.Module, KvShape]], pools: object) -> None:
    """Let every layer attend through the paged pools from now on."""
    attention.register()
    model.set_attn_implementation(attention.NAME)
    for module, _ in attending:
        module.headway_pools = pools
