"""Model facts from where they stand: a `transformers` config, a model's folder, or the configs shipped here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from headway.core.errors import ConfigError, unknown_name
from headway.sim.serving.cost.model import ModelFacts

SHIPPED = Path(__file__).with_name("models")
"""Configs of known models, cut down to the facts of their architecture."""

UNGATED = {
    "opt", "bloom", "falcon", "gpt2", "gpt_neo", "gpt_neox", "gptj", "gpt_bigcode", "mpt", "phi", "codegen",
    "starcoder2", "nemotron",
}  # fmt: skip
"""Model types whose MLP has two matrices."""

_ENDINGS = re.compile(r"[-_](hf|chat|instruct|it|base|fp8|bf16|awq|gptq|v\d[.\d]*|\d{4})$")


def model_facts(model: str | Path | Mapping[str, Any] | ModelFacts) -> ModelFacts:
    """Find out what a model is made of.

    Parameters
    ----------
    model : str, Path, mapping or ModelFacts
        A shipped model's name (``"meta-llama/Llama-3.1-8B-Instruct"``, as its authors write it, will do), a folder with
        a ``config.json``, such a file, the config itself, or the facts.

    Raises
    ------
    UnknownName
        When nothing has that name; names the nearest three.
    ConfigError
        When a config cannot be read or lacks a fact.
    """
    if isinstance(model, ModelFacts):
        return model
    if isinstance(model, Mapping):
        return from_config(model)
    path = Path(model)
    if path.is_dir() or path.suffix == ".json":
        file = path if path.suffix == ".json" else path / "config.json"
        return from_config(_read(file), name=path.name if path.is_dir() else path.stem)
    return _shipped(str(model))


@cache
def shipped_models() -> tuple[str, ...]:
    """Return the names of the models that come with Headway."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.json")))


def from_config(config: Mapping[str, Any], *, name: str | None = None) -> ModelFacts:
    """Read the facts out of a config as `transformers` writes it.

    Raises
    ------
    ConfigError
        When a fact is missing, or the layers are of a kind that has no price here.
    """
    called = name or str(config.get("_name_or_path") or config.get("model_type") or "model")
    try:
        return _facts(config.get("text_config") or config, called)
    except (AttributeError, LookupError, TypeError, ZeroDivisionError) as error:
        said = f"{type(error).__name__}: {error}"
        raise ConfigError(f"model {called}: must have a whole transformers config, got {said}. Mend it.") from error


def _facts(text: Mapping[str, Any], called: str) -> ModelFacts:
    if any("linear" in kind or "mamba" in kind for kind in text.get("layer_types") or ()):
        raise ConfigError(f"model {called}: every layer must have attention, got {sorted(set(text['layer_types']))}.")
    return ModelFacts(**{"name": called, **_shape(text, called), **_experts(text), **_latent(text)})


def _shape(text: Mapping[str, Any], called: str) -> dict[str, Any]:
    hidden = _first(text, called, "hidden_size", "n_embd", "d_model")
    heads = _first(text, called, "num_attention_heads", "n_head", "n_heads")
    gated = text.get("model_type") not in UNGATED
    width = _first(text, called, "intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", default=4 * hidden)
    return {
        "num_layers": _first(text, called, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        "hidden": hidden,
        "num_heads": heads,
        "num_kv_heads": _kv_heads(text, called, heads),
        "head_dim": text.get("head_dim") or hidden // heads,
        "intermediate": width,
        "vocab": _first(text, called, "vocab_size"),
        "gated": gated,
        "tied": bool(text.get("tie_word_embeddings", text.get("model_type") in UNGATED)),
        "max_context_tokens": _first(
            text, called, "max_position_embeddings", "seq_length", "n_positions", default=2**31
        ),
    }


def _kv_heads(text: Mapping[str, Any], called: str, heads: int) -> int:
    if text.get("model_type") == "falcon" and not text.get("new_decoder_architecture"):
        return 1 if text.get("multi_query", True) else heads
    if text.get("multi_query"):
        return 1
    return _first(text, called, "num_key_value_heads", "num_kv_heads", "n_head_kv", default=heads)


def _experts(text: Mapping[str, Any]) -> dict[str, Any]:
    count = text.get("num_experts") or text.get("n_routed_experts") or text.get("num_local_experts") or 0
    if count <= 1:
        return {}
    width = text.get("moe_intermediate_size") or text["intermediate_size"]
    shared = text.get("shared_expert_intermediate_size") or (text.get("n_shared_experts") or 0) * width
    every, layers = text.get("decoder_sparse_step") or 1, text.get("num_hidden_layers", 0)
    dense = text.get("first_k_dense_replace") or len(text.get("mlp_only_layers") or ()) or layers - layers // every
    return {
        "num_experts": count,
        "experts_per_token": text.get("num_experts_per_tok") or text.get("moe_topk") or 2,
        "expert_intermediate": width,
        "shared_intermediate": shared,
        "num_dense_layers": dense,
    }


def _latent(text: Mapping[str, Any]) -> dict[str, Any]:
    if not text.get("kv_lora_rank"):
        return {}
    return {
        "kv_latent": text["kv_lora_rank"],
        "q_latent": text.get("q_lora_rank") or 0,
        "rope_head_dim": text["qk_rope_head_dim"],
        "value_head_dim": text["v_head_dim"],
        "num_kv_heads": text["num_attention_heads"],
        "head_dim": text["qk_nope_head_dim"] + text["qk_rope_head_dim"],
    }


def _first(text: Mapping[str, Any], called: str, *names: str, default: int | None = None) -> int:
    found = next((text[name] for name in names if text.get(name) is not None), default)
    if not isinstance(found, int):
        raise ConfigError(
            f"model {called}: its config must have {names[0]}, got {found!r}. Give a transformers config."
        )
    return found


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: must be a file that can be read, got: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"{file}: must be JSON, got: {error}.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: must be a transformers config, got {type(found).__name__}.")
    return found


@cache
def _shipped(name: str) -> ModelFacts:
    known = {_key(one): one for one in shipped_models()}
    if (found := known.get(_key(name))) is None:
        raise unknown_name("model", name, known.values())
    return from_config(_read(SHIPPED / f"{found}.json"), name=found)


def _key(name: str) -> str:
    """Return a name without owner, endings and punctuation."""
    last = name.lower().rstrip("/").rsplit("/", 1)[-1].removeprefix("meta-")
    while (shorter := _ENDINGS.sub("", last)) != last:
        last = shorter
    return re.sub("[^a-z0-9]", "", last)
