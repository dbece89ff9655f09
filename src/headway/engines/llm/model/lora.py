"""LoRA adapters in `peft` format: read from disk and hung onto the linears they belong to."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from headway.core.errors import ConfigError
from headway.engines.llm.model.linears import LoraWeights, PackedLinear

if TYPE_CHECKING:
    from torch import Tensor

_KEY = re.compile(r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[^.]+)?\.weight$")
_UNSUPPORTED = (
    "modules_to_save", "use_dora", "layer_replication", "trainable_token_indices", "target_parameters", "lora_bias",
    "alora_invocation_tokens", "arrow_config", "use_bdlora",
)  # fmt: skip


def attach_adapters(model: nn.Module, adapters: Mapping[str, str], first: int = 1) -> None:
    """Load every adapter and hang it onto the model's packed linears.

    Parameters
    ----------
    model : nn.Module
        With its linears packed already.
    adapters : mapping of str to str
        Folder by name.
    first : int
        The index that the first of them gets, >= 1.

    Raises
    ------
    ConfigError
        When one cannot be read, is no plain LoRA, or does not fit the model.
    """
    for index, (name, folder) in enumerate(adapters.items(), start=first):
        found = _read(name, folder, model)  # all of it, before any is hung up
        for module, lora in found.items():
            _linear(name, model, module).adapters[index] = lora


def _read(name: str, folder: str, model: nn.Module) -> dict[str, LoraWeights]:
    """Read one adapter: scaled weights by the name of the module they belong to."""
    settings = _settings(name, folder)
    sides: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, weight in _weights(name, folder).items():
        found = _KEY.match(key)
        if found is None:
            raise _wrong(name, f"hold only LoRA weights of linear layers, got {key!r}")
        sides[found["module"]][found["side"]] = weight
    return {module: _scaled(name, module, pair, settings, model) for module, pair in sides.items()}


def _settings(name: str, folder: str) -> Any:
    from peft import LoraConfig

    path = Path(folder).expanduser() / "adapter_config.json"
    if not path.is_file():
        raise _wrong(name, f"be a folder with adapter_config.json, got {folder!r}")
    try:
        kind = json.loads(path.read_text())["peft_type"]
        settings = LoraConfig.from_pretrained(str(path.parent)) if kind == "LORA" else None
    except Exception as error:
        raise _wrong(name, f"have a readable adapter_config.json, got {type(error).__name__}: {error}") from error
    if settings is None:
        raise _wrong(name, f"be of kind LORA, got {kind}")
    odd = [option for option in _UNSUPPORTED if getattr(settings, option, None)]
    if settings.bias != "none":
        odd.append(f"bias={settings.bias!r}")
    if odd:
        raise _wrong(name, f"be a plain LoRA, got {', '.join(odd)}")
    return settings


def _weights(name: str, folder: str) -> dict[str, Tensor]:
    from peft.utils import load_peft_weights

    try:
        weights: dict[str, Tensor] = load_peft_weights(str(Path(folder).expanduser()), device="cpu")
    except Exception as error:
        raise _wrong(name, f"have readable weights, got {type(error).__name__}: {error}") from error
    if not weights:
        raise _wrong(name, "hold some weights, got none")
    return weights


def _scaled(name: str, module: str, pair: dict[str, Tensor], settings: Any, model: nn.Module) -> LoraWeights:
    linear = _linear(name, model, module)
    rank = _by_pattern(settings.rank_pattern, module, settings.r)
    shapes = {side: tuple(weight.shape) for side, weight in pair.items()}
    wanted = {"A": (rank, linear.in_features), "B": (linear.out_features, rank)}
    if shapes != wanted:
        raise _wrong(name, f"fit the model, where {module} takes {wanted}, got {shapes}")
    alpha = _by_pattern(settings.alpha_pattern, module, settings.lora_alpha)
    scale = alpha / (rank**0.5 if settings.use_rslora else rank)
    like = next(model.parameters())
    return LoraWeights(linear.product.kernels, pair["A"].to(like), (pair["B"].float() * scale).to(like))


def _by_pattern(pattern: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    from peft.utils.other import get_pattern_key

    pattern = pattern or {}
    return pattern.get(get_pattern_key(list(pattern), module), default)


def _linear(name: str, model: nn.Module, module: str) -> PackedLinear:
    try:
        linear = model.get_submodule(module)
    except AttributeError:
        raise _wrong(name, f"fit the model, which has no layer {module}") from None
    if not isinstance(linear, PackedLinear):
        raise _wrong(name, f"target linear layers, but {module} is {type(linear).__name__}")
    return linear


def _wrong(name: str, must: str) -> ConfigError:
    return ConfigError(f"adapter {name}: must {must}. Give a LoRA of this model saved by peft, or merge it.")
