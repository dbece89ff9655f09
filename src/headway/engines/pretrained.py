"""Pretrained models as `transformers` finds and loads them: what serves and what fine-tunes begin here alike."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")


def read_config(model: str) -> PretrainedConfig:
    """Read the configuration of a local folder or a hub id, or say in one sentence why it cannot be."""
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = Path(model).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise ConfigError(f"model {model}: the folder must hold config.json, but does not. Give a checkpoint's folder.")
    if not folder.is_dir() and (folder.is_absolute() or model.startswith((".", "~"))):
        raise ConfigError(f"model {model}: there must be such a folder, but there is none. Check the path.")
    try:
        return AutoConfig.from_pretrained(str(folder) if folder.is_dir() else model)
    except Exception as error:
        raise ConfigError(
            f"model {model}: must be a checkpoint that transformers knows, got: {first_line(error)}"
        ) from error


def check_decoder_only(model: str, described: PretrainedConfig) -> None:
    """Raise unless it describes a decoder-only language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if described.is_encoder_decoder or type(described) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ConfigError(
            f"model {model}: must be a decoder-only language model, got architecture {described.model_type!r}. "
            "Choose another."
        )


def own_context_tokens(text: PretrainedConfig) -> int:
    """Return the longest sequence that a model's configuration speaks of; 0 when it does not say."""
    return next((int(getattr(text, name)) for name in CONTEXT_NAMES if getattr(text, name, None)), 0)


def choose_device(asked: str, where: str = "engine") -> torch.device:
    """Return the device to compute on: a GPU where there is one, unless told otherwise."""
    import torch

    found = torch.cuda.is_available()
    if asked == "cuda" and not found:
        raise ConfigError(f"{where}: device cuda needs a GPU that torch can see, but there is none. Use device cpu.")
    return torch.device("cuda" if asked == "cuda" or (asked == "auto" and found) else "cpu")


def load_weights(
    model: str, described: PretrainedConfig, dtype: torch.dtype, device: torch.device, attention: str | None = None
) -> PreTrainedModel:
    """Load a model with its weights.

    Parameters
    ----------
    model : str
        A local folder or a hub id.
    described : PretrainedConfig
        Its configuration.
    dtype, device : torch.dtype, torch.device
        What the weights shall be, and where.
    attention : str or None
        Which of the implementations of `transformers` attends; its own choice by default.

    Raises
    ------
    ConfigError
        When the weights are not there, do not fit or are incomplete.
    """
    from transformers import AutoModelForCausalLM

    try:
        loaded, info = AutoModelForCausalLM.from_pretrained(
            str(Path(model).expanduser()) if Path(model).expanduser().is_dir() else model,
            config=described,
            dtype=dtype,
            device_map=None if device.type == "cpu" else device,
            attn_implementation=attention,
            output_loading_info=True,
        )
    except Exception as error:
        raise ConfigError(f"model {model}: its weights must be there and fit, got: {first_line(error)}") from error
    _check_complete(model, info)
    result: PreTrainedModel = loaded
    return result


def _check_complete(model: str, info: dict[str, Any]) -> None:
    missing: Iterable[str] = sorted(info.get("missing_keys") or ())
    if missing:
        some = ", ".join(list(missing)[:3])
        raise ConfigError(f"model {model}: its weights must be complete, but {some} and perhaps others are missing.")


def find_layers(model: nn.Module, num_layers: int) -> list[nn.Module] | None:
    """Return the decoder layers of a model, first to last; None when they are not one list of modules."""
    from torch.nn import ModuleList

    for module in model.modules():
        if isinstance(module, ModuleList) and len(module) == num_layers:
            return list(module)
    return None


def first_line(error: Exception) -> str:
    """Say in one line what an error of a library was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no details'}"
