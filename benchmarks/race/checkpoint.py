"""Writes the random checkpoints that the contenders run: the Qwen2 shape, bf16, tied embeddings.

python benchmarks/race/checkpoint.py small|half FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, int]] = {
    "small": {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 4,
        "intermediate_size": 3072, "vocab_size": 32_000,
    },
    "half": {
        "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "intermediate_size": 4864, "vocab_size": 151_936,
    },
}  # fmt: skip


def config_of(shape: dict[str, int]) -> dict[str, Any]:
    """Return the `config.json` of a Qwen2 of this shape."""
    return {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "dtype": "bfloat16",
        "torch_dtype": "bfloat16", "max_position_embeddings": 32_768, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "tie_word_embeddings": True,
        "use_sliding_window": False, "attention_dropout": 0.0, "initializer_range": 0.02, "use_cache": True,
        "bos_token_id": 0, "eos_token_id": 1, **shape,
    }  # fmt: skip


def tensors(shape: dict[str, int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name every tensor of the checkpoint and give its shape."""
    hidden, mlp = shape["hidden_size"], shape["intermediate_size"]
    kv = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    yield "model.embed_tokens.weight", (shape["vocab_size"], hidden)
    yield "model.norm.weight", (hidden,)
    for layer in range(shape["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, width in (("q", hidden), ("k", kv), ("v", kv)):
            yield f"{at}self_attn.{name}_proj.weight", (width, hidden)
            yield f"{at}self_attn.{name}_proj.bias", (width,)
        yield f"{at}self_attn.o_proj.weight", (hidden, hidden)
        yield f"{at}mlp.gate_proj.weight", (mlp, hidden)
        yield f"{at}mlp.up_proj.weight", (mlp, hidden)
        yield f"{at}mlp.down_proj.weight", (hidden, mlp)
        yield f"{at}input_layernorm.weight", (hidden,)
        yield f"{at}post_attention_layernorm.weight", (hidden,)


def write(shape: dict[str, int], folder: Path) -> None:
    """Draw the weights and write the folder; the configuration comes last and says that the rest is there."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    dice = torch.Generator().manual_seed(0)

    def draw(name: str, size: tuple[int, ...]) -> torch.Tensor:
        if name.endswith("norm.weight"):
            return torch.ones(size, dtype=torch.bfloat16)
        return torch.randn(size, generator=dice).mul_(0.02).to(torch.bfloat16)

    weights = {name: draw(name, size) for name, size in tensors(shape)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    generation = {"bos_token_id": 0, "eos_token_id": 1, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "config.json").write_text(json.dumps(config_of(shape), indent=2))


if __name__ == "__main__":
    write(SHAPES[sys.argv[1]], Path(sys.argv[2]))
