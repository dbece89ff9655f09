"""Adapters give the logits that `peft` gives, each on its own rows of a mixed batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.llm.model.driving import Track, assert_same, make_runner, own_logits, random_tokens, step
from engines.llm.model.models import make_model, save_model
from headway.core.errors import ConfigError, UnknownName

# peft asks transformers for something under an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def save_adapter(name: str, folder: Path, seed: int, **settings: Any) -> Any:
    """Make a random adapter for a tiny model, save it, and return the adapted model."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(make_model(name), LoraConfig(task_type="CAUSAL_LM", **settings))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weight in adapted.named_parameters():
            if "lora_" in key:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return adapted.eval()


GPT = {"fan_in_fan_out": True}
ATTENTION_AND_MLP = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.mark.parametrize(
    ("name", "one", "two"),
    [
        (
            "llama",
            {"r": 4, "lora_alpha": 12, "target_modules": ATTENTION_AND_MLP},
            {"r": 8, "use_rslora": True, "target_modules": ["q_proj", "down_proj"], "rank_pattern": {"q_proj": 3}},
        ),
        ("phi3", {"r": 4, "target_modules": ["qkv_proj", "gate_up_proj"]}, {"r": 2, "target_modules": ["o_proj"]}),
        ("mixtral", {"r": 4, "target_modules": ["k_proj"]}, {"r": 2, "target_modules": ["lm_head"]}),
        ("gpt2", GPT | {"r": 4, "target_modules": ["c_attn"]}, GPT | {"r": 2, "target_modules": ["c_proj"]}),
    ],
)
def test_two_adapters_and_the_base_in_one_batch(
    name: str, one: dict[str, Any], two: dict[str, Any], tmp_path: Path
) -> None:
    base = save_model(name, tmp_path / "base")
    models = {"": base}
    for seed, (adapter, settings) in enumerate({"one": one, "two": two}.items()):
        models[adapter] = save_adapter(name, tmp_path / adapter, seed, **settings)
    # The kernels that a user gets: compiled where they can be.
    runner = make_runner(tmp_path / "base", native=True, adapters={key: str(tmp_path / key) for key in ("one", "two")})
    assert runner.facts.adapters == ("one", "two")
    names = ("one", "", "two", "one")
    tracks = [Track(runner, random_tokens(20 + n, seed=n), range(4 * n, 4 * n + 4), a) for n, a in enumerate(names)]
    last = runner.facts.num_layers
    step(runner, *((track, 5) for track in tracks))
    step(runner, (tracks[3], 6), (tracks[2], 7, (0, 1)), (tracks[1], 1))
    step(runner, (tracks[2], 7, (1, last)), (tracks[0], 4))
    step(runner, *((track, 1) for track in tracks))
    for track, adapter in zip(tracks, names, strict=True):
        assert_same(track, own_logits(models[adapter], track.tokens))
    assert not torch.allclose(own_logits(models["one"], tracks[0].tokens), own_logits(base, tracks[0].tokens), atol=0.1)


def test_an_unknown_adapter_is_named(tmp_path: Path) -> None:
    save_model("llama", tmp_path)
    with pytest.raises(UnknownName, match="french"):
        make_runner(tmp_path).open([1, 2], "french")


def spoil_kind(folder: Path) -> None:
    change(folder, peft_type="IA3", feedforward_modules=[])


def spoil_dora(folder: Path) -> None:
    change(folder, use_dora=True)


def spoil_rank(folder: Path) -> None:
    change(folder, r=7)


def spoil_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    save_file(
        {key.replace("layers.0", "layers.9"): w for key, w in weights.items()}, folder / "adapter_model.safetensors"
    )


def spoil_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"nothing")


def spoil_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def change(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_kind, "kind LORA"), (spoil_dora, "use_dora"), (spoil_rank, "fit the model, where .*q_proj takes"),
        (spoil_layer, r"no layer .*layers\.9"), (spoil_weights, "readable weights"),
        (spoil_config, "adapter_config.json"),
    ],
)  # fmt: skip
def test_a_wrong_adapter_is_one_clear_error(spoil: Any, words: str, tmp_path: Path) -> None:
    save_model("llama", tmp_path / "base")
    save_adapter("llama", tmp_path / "wrong", 0, r=4, target_modules=["q_proj"])
    spoil(tmp_path / "wrong")
    with pytest.raises(ConfigError, match=f"adapter wrong: must .*{words}"):
        make_runner(tmp_path / "base", adapters={"wrong": str(tmp_path / "wrong")})


def test_an_adapter_that_trains_more_than_linears_is_refused(tmp_path: Path) -> None:
    save_model("llama", tmp_path / "base")
    save_adapter("llama", tmp_path / "wrong", 0, r=4, target_modules=["q_proj"], modules_to_save=["lm_head"])
    with pytest.raises(ConfigError, match="modules_to_save"):
        make_runner(tmp_path / "base", adapters={"wrong": str(tmp_path / "wrong")})
