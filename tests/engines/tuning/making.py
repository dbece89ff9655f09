"""Tiny runs: random models and examples on disk, and a plain training loop to compare with."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.tokens import Examples, writing_examples

VOCAB = 300


def write_tokens(path: Path, num: int = 13, seed: int = 0, shortest: int = 4, longest: int = 24) -> Path:
    """Write random examples; about half of their tokens are trained."""
    rng = np.random.default_rng(seed)
    with writing_examples(path) as writer:
        for _ in range(num):
            length = int(rng.integers(shortest, longest + 1))
            trained = rng.random(length) < 0.5
            trained[-1] = True
            writer.add(rng.integers(0, VOCAB, length).tolist(), trained.tolist())
    return path


def make_spec(at: Path, model: str, **changes: Any) -> TuneSpec:
    """A short run on random examples in `at`."""
    at.mkdir(parents=True, exist_ok=True)
    tokens = at / "tokens.safetensors"
    given: dict[str, Any] = {
        "job": "j", "name": "n", "model": model, "tokens": str(tokens), "folder": str(at / "run"), "rank": 4,
        "num_epochs": 2, "batch_size": 4, "microbatch_tokens": 40, "learning_rate": 5e-3, "warmup_frac": 0.2,
        "checkpoint_steps": 0,
    }  # fmt: skip
    given |= changes
    if not tokens.exists():
        write_tokens(tokens)
    return TuneSpec(**given)


def plain_loop(spec: TuneSpec) -> tuple[list[float], dict[str, Any]]:
    """Train as `transformers` and `peft` are used everywhere: one padded batch per step, a mask, `loss.backward()`."""
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(spec.model, dtype=torch.float32)
    torch.manual_seed(spec.seed)
    settings = LoraConfig(
        r=spec.rank, lora_alpha=spec.alpha, lora_dropout=spec.dropout, task_type="CAUSAL_LM",
        target_modules=list(spec.targets) or "all-linear",
    )  # fmt: skip
    with warnings.catch_warnings(action="ignore"):
        model = get_peft_model(model, settings)
    model.train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    adamw = torch.optim.AdamW(weights, lr=0.0, weight_decay=spec.weight_decay)
    examples, losses = Examples(spec.tokens), []
    num_steps = spec.num_epochs * math.ceil(len(examples) / spec.batch_size)
    num_warm = math.ceil(spec.warmup_frac * num_steps)
    for epoch in range(spec.num_epochs):
        order = np.random.default_rng((spec.seed, epoch)).permutation(len(examples))
        for first in range(0, len(order), spec.batch_size):
            batch = [examples[int(index)] for index in order[first : first + spec.batch_size]]
            width = max(len(ids) for ids, _ in batch)
            ids = torch.zeros(len(batch), width, dtype=torch.int64)
            mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
            for row, (tokens, trained) in enumerate(batch):
                ids[row, : len(tokens)] = torch.from_numpy(tokens.astype(np.int64))
                mask[row, : len(tokens)] = 1
                labels[row, : len(tokens)][torch.from_numpy(trained)] = ids[row, : len(tokens)][
                    torch.from_numpy(trained)
                ]
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
            loss.backward()
            if spec.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(weights, spec.max_grad_norm)
            step = len(losses)
            rate = (step + 1) / num_warm if step < num_warm else 1 - (step - num_warm) / (num_steps - num_warm)
            adamw.param_groups[0]["lr"] = spec.learning_rate * rate
            adamw.step()
            adamw.zero_grad()
            losses.append(float(loss.detach()))
    return losses, dict(get_peft_model_state_dict(model, save_embedding_layers=False))


def save_model(name: str, folder: Path) -> str:
    """Save a tiny random model of one architecture, and return its folder."""
    import torch
    import transformers

    common: dict[str, Any] = {
        "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.2,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": None,
    }  # fmt: skip
    own: dict[str, dict[str, Any]] = {
        "Llama": {}, "Qwen2": {}, "Gemma2": {"head_dim": 8}, "GPTNeoX": {},
        "GPT2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
        "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 16, "dropout": 0.0, "layerdrop": 0.0},
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(**common | own[name])
    torch.manual_seed(7)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return str(folder)
