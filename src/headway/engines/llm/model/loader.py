"""Get a checkpoint off the disk: what it is, whether it can be served, and its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway.core.errors import ConfigError
from headway.engines.pretrained import check_decoder_only, choose_device, load_weights, own_context_tokens, read_config

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

    from headway.engines.llm.config import EngineConfig

SERVED_LAYERS = frozenset({"full_attention", "sliding_attention"})
"""Kinds of layers whose whole memory is a paged cache of keys and values."""


@dataclass
class Checkpoint:
    """A model with its weights, as `transformers` loads it, and what is known of it.

    Attributes
    ----------
    model : PreTrainedModel
        In evaluation mode, on its device.
    config : PretrainedConfig
        Of the text model.
    context_tokens : int
        Longest sequence.
    eos_ids : tuple of int
        Tokens that end an output.
    """

    model: PreTrainedModel
    config: PretrainedConfig
    context_tokens: int
    eos_ids: tuple[int, ...]


def load(config: EngineConfig, progress: Callable[[str], None]) -> Checkpoint:
    """Load what `config` names.

    Parameters
    ----------
    config : EngineConfig
        Which model, on what device, in what type, with what context.
    progress : callable
        Is told in a few words what is being done.

    Raises
    ------
    ConfigError
        When there is no such checkpoint, it is incomplete, of an architecture that cannot be served, or does not fit
        the configuration.
    """
    import torch

    progress("reading the model's configuration")
    described = read_config(config.model)
    text = described.get_text_config(decoder=True)
    _check_architecture(config.model, described, text)
    context_tokens = _context_tokens(config, text)
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    if config.quantize != "none" and device.type != "cpu":
        raise ConfigError(f"engine: quantize {config.quantize} needs device cpu, got {device.type}. Use quantize none.")
    progress(f"loading weights in {str(dtype).removeprefix('torch.')}")
    model = load_weights(config.model, described, dtype, device, attention="eager")
    with torch.no_grad():
        model.eval().requires_grad_(False)
    return Checkpoint(model, text, context_tokens, _eos_ids(model, text))


def _check_architecture(model: str, described: PretrainedConfig, text: PretrainedConfig) -> None:
    check_decoder_only(model, described)
    others = set(getattr(text, "layer_types", None) or ()) - SERVED_LAYERS
    if others:
        raise ConfigError(
            f"model {model}: its layers must be full or sliding attention, got {', '.join(sorted(others))} "
            f"({described.model_type}). Choose another."
        )


def _context_tokens(config: EngineConfig, text: PretrainedConfig) -> int:
    own = own_context_tokens(text)
    if config.context_tokens < 0 or (own and config.context_tokens > own):
        raise ConfigError(
            f"engine: context_tokens must be in 1..{own}, the model's own, got {config.context_tokens}. "
            "Use 0 for the model's."
        )
    if not (config.context_tokens or own):
        raise ConfigError(f"engine: context_tokens must be given, since model {config.model} does not say its own.")
    return config.context_tokens or min(own, _unstretched_tokens(text) or own)


def _unstretched_tokens(text: PretrainedConfig) -> int | None:
    """Return the context up to which LongRoPE leaves positions alone.

    Beyond it every position gets other angles, the early ones too, so longer contexts are for those who ask for them.
    """
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return None
    own = rope.get("original_max_position_embeddings") or getattr(text, "original_max_position_embeddings", None)
    return int(own) if own else None


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """Return the type to compute in: bfloat16 where the processor computes in it, else float32."""
    import torch

    if asked == "float16" and device.type == "cpu":
        raise ConfigError("engine: dtype on a CPU must be float32 or bfloat16, got 'float16'. Use auto.")
    if asked != "auto":
        named: torch.dtype = getattr(torch, asked)
        return named
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def _eos_ids(model: PreTrainedModel, text: PretrainedConfig) -> tuple[int, ...]:
    generation = getattr(model, "generation_config", None)
    for source in (generation, text):
        ids = getattr(source, "eos_token_id", None)
        if ids is not None:
            return (ids,) if isinstance(ids, int) else tuple(ids)
    return ()
