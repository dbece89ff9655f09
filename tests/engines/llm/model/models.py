"""Tiny random checkpoints, made on the fly and saved as a user's would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COMMON: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256, "initializer_range": 0.25,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "llama-tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {}),
    "mistral": ("MistralConfig", {"sliding_window": 20}),
    "gemma2": ("Gemma2Config", {"sliding_window": 20, "query_pre_attn_scalar": 16, "num_hidden_layers": 4}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 20, "query_pre_attn_scalar": 16, "num_hidden_layers": 7}),
    "phi3": ("Phi3Config", {}),
    "mixtral": ("MixtralConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": (
        "Qwen3MoeConfig",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "decoder_sparse_step": 1},
    ),
    # Looks like a Llama to the eye, but scales what each block adds.
    "granite": ("GraniteConfig", {"residual_multiplier": 0.5, "logits_scaling": 3.0, "embedding_multiplier": 2.0}),
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 256}),
}
"""By short name: the configuration class in `transformers`, and what differs from `COMMON`."""

RARER: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("GemmaConfig", {"num_key_value_heads": 1}),
    "gpt-neox": ("GPTNeoXConfig", {}),
    "stablelm": ("StableLmConfig", {"partial_rotary_factor": 0.5}),
    "smollm3": ("SmolLM3Config", {"num_hidden_layers": 4}),
    "olmo3": ("Olmo3Config", {"sliding_window": 20}),
    "deepseek-v3": (
        "DeepseekV3Config",
        {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32,
         "q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16,
         "first_k_dense_replace": 1, "num_key_value_heads": 4, "head_dim": 8},
    ),
}  # fmt: skip
"""Shapes whose layers no fused kernel knows, or that keep other things per token than most."""


def make_model(name: str, seed: int = 0, **settings: Any) -> Any:
    """Make a tiny random model in float32."""
    import torch
    import transformers

    class_name, changes = (SHAPES | RARER)[name]
    config = getattr(transformers, class_name)(**COMMON | changes | settings)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    _wake_norms(model)
    model.generation_config.pad_token_id = 0
    return model.eval()


def save_model(name: str, folder: Path, seed: int = 0, **settings: Any) -> Any:
    """Make a tiny random model, save it to `folder`, and return it."""
    model = make_model(name, seed, **settings)
    model.save_pretrained(folder)
    return model


def _wake_norms(model: Any) -> None:
    """Give norms and biases, which start at one and zero, values of their own."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
