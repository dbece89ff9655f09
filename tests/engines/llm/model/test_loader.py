"""What cannot be served is refused in one sentence, before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from engines.llm.model.driving import Track, make_runner, own_logits, random_tokens, step
from engines.llm.model.models import save_model
from headway.core.errors import ConfigError
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.model import loader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model("llama", tmp_path)
    return tmp_path


def change(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_a_weight_missing(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_weights_of_another_size(folder: Path) -> None:
    change(folder, intermediate_size=80)


def of_an_unknown_kind(folder: Path) -> None:
    change(folder, model_type="abacus")


def with_torn_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_config, "must hold config.json"),
        (without_weights, "its weights must be there"),
        (with_a_weight_missing, r"must be complete, but model\.layers\.1\.mlp\.up_proj\.weight"),
        (with_weights_of_another_size, "its weights must be there and fit"),
        (of_an_unknown_kind, "must be a checkpoint that transformers knows, got: .*abacus"),
        (with_torn_config, "must be a checkpoint that transformers knows"),
    ],
)
def test_a_broken_checkpoint_is_one_clear_error(folder: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(folder)
    with pytest.raises(ConfigError, match=words) as error:
        make_runner(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("class_name", "settings", "words"),
    [
        ("T5Config", {"d_model": 16, "num_layers": 1}, "decoder-only language model, got architecture 't5'"),
        ("ViTConfig", {"hidden_size": 16}, "decoder-only language model, got architecture 'vit'"),
        ("MambaConfig", {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 30}, "got linear_attention"),
        ("BertConfig", {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 16,
                        "vocab_size": 30}, "attention in both directions"),
        ("BloomConfig", {"hidden_size": 16, "n_head": 2, "n_layer": 2, "vocab_size": 30}, "attend through the"),
        ("GptOssConfig", {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 30, "num_local_experts": 2,
                          "num_experts_per_tok": 1, "intermediate_size": 16, "head_dim": 16, "num_attention_heads": 2,
                          "num_key_value_heads": 1}, "attention sinks"),
        ("Llama4TextConfig", {"hidden_size": 32, "num_hidden_layers": 4, "vocab_size": 30, "num_local_experts": 2,
                              "intermediate_size": 16, "intermediate_size_mlp": 16, "head_dim": 16,
                              "num_attention_heads": 2, "num_key_value_heads": 1}, "chunked_attention"),
    ],
)  # fmt: skip
def test_an_architecture_that_cannot_be_served_is_named(
    class_name: str, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    config = getattr(transformers, class_name)(**settings)
    if type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    else:
        config.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=words):
        make_runner(tmp_path, context_tokens=16)


def test_a_missing_folder_is_not_looked_up_anywhere_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there must be such a folder"):
        make_runner(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"context_tokens": 257}, r"context_tokens must be in 1\.\.256, the model's own, got 257"),
        ({"kv_bytes": 1000}, "must hold at least one block"),
        ({"kv_bytes": 1 << 60}, "at most the free memory"),
        ({"dtype": "float16"}, "must be float32 or bfloat16"),
    ],
)
def test_settings_that_do_not_fit_the_model(settings: dict[str, Any], words: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        make_runner(folder, **settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match="needs a GPU"):
        make_runner(folder, device="cuda")


def test_facts(folder: Path) -> None:
    said: list[str] = []
    config = EngineConfig(model=f"{folder}/", dtype="float32", native=False, max_seqs=3, context_tokens=100)
    from headway.engines.llm.model.runner import Runner

    runner = Runner(config, said.append)
    facts = runner.facts
    assert (facts.name, facts.context_tokens, facts.vocab_size, facts.num_layers) == (folder.name, 100, 300, 3)
    assert (facts.eos_ids, facts.dtype, facts.device, facts.kernels) == ((2,), "float32", "cpu", "torch")
    assert runner.num_blocks == 3 * 7  # three full contexts in blocks of 16: no more memory is taken than can be used
    assert any("loading" in what for what in said)


def test_several_end_tokens_come_from_the_generation_config(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    assert make_runner(folder).facts.eos_ids == (2, 7)


def test_automatic_type_is_what_the_processor_computes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert loader.choose_dtype("auto", torch.device("cpu")) == expected


def test_longrope_models_keep_to_their_first_context_unless_asked(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 64, **factors}
    model = save_model("phi3", tmp_path, rope_parameters=rope, original_max_position_embeddings=64)
    tokens = random_tokens(100, seed=1)
    for context_tokens, length in ((0, 60), (128, 100)):
        runner = make_runner(tmp_path, context_tokens=context_tokens)
        assert runner.facts.context_tokens == (context_tokens or 64)
        track = Track(runner, tokens[:length], range(13))
        step(runner, (track, 20))
        step(runner, (track, length - 20))
        torch.testing.assert_close(
            track.logits[length - 1], own_logits(model, tokens[:length])[-1], atol=1e-4, rtol=1e-4
        )
