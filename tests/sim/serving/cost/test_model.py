"""Facts of models, against their published counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headway.core.errors import ConfigError, UnknownName
from headway.sim.serving.cost import ModelFacts, model_facts, shipped_models

PUBLISHED = {  # billions of parameters, and of those that one token meets (where the authors say)
    "llama-2-7b": (6.74, None),
    "llama-3-8b": (8.03, None), "llama-3-70b": (70.6, None), "llama-3.1-405b": (405.9, None),
    "mistral-7b": (7.24, None), "yi-34b": (34.4, None), "qwen2.5-7b": (7.62, None), "qwen3-32b": (32.8, None),
    "qwen3-30b-a3b": (30.5, 3.3), "qwen3-235b-a22b": (235.0, 22.0), "mixtral-8x7b": (46.7, 12.9),
    "deepseek-v3": (671.0, 37.0), "opt-13b": (12.9, None), "opt-66b": (65.7, None), "opt-175b": (175.0, None),
    "bloom-176b": (176.2, None), "falcon-180b": (179.5, None),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_are_those_that_were_published(name: str) -> None:
    total, active = PUBLISHED[name]
    facts = model_facts(name)
    assert facts.parameters / 1e9 == pytest.approx(total, rel=0.01)
    if active is not None:
        assert facts.active_parameters / 1e9 == pytest.approx(active, rel=0.1)


@pytest.mark.parametrize(
    ("name", "kv_bytes"),
    [("llama-3-8b", 2 * 32 * 8 * 128 * 2), ("llama-2-7b", 2 * 32 * 4096 * 2), ("deepseek-r1", 61 * (512 + 64) * 2)],
)
def test_kv_of_grouped_full_and_latent_attention(name: str, kv_bytes: int) -> None:
    assert model_facts(name).kv_token_bytes() == kv_bytes
    assert model_facts(name).kv_token_bytes("fp8") == kv_bytes / 2


def test_shards_add_up_to_the_whole() -> None:
    facts = model_facts("llama-3-70b")
    whole = sum(rows * columns for rows, columns in (*facts.attention_shapes(), *facts.mlp_shapes()))
    part = sum(rows * columns for rows, columns in (*facts.attention_shapes(8), *facts.mlp_shapes(8)))
    assert 8 * part == whole
    assert 16 * model_facts("qwen3-235b-a22b").kv_layer_numbers(16) > model_facts("qwen3-235b-a22b").kv_layer_numbers()


def test_eight_bit_weights_keep_the_tables_in_sixteen() -> None:
    facts = model_facts("llama-3-8b")
    tables = 2 * 128256 * 4096
    assert facts.weight_bytes("fp8") == pytest.approx(facts.parameters - tables + 2 * tables)


def test_attention_is_causal() -> None:
    facts = model_facts("llama-3-8b")
    once = facts.attention_flops(1000)
    assert facts.attention_flops(500) + facts.attention_flops(500, 500) == pytest.approx(once)
    assert once == pytest.approx(32 * 4 * 4096 * 1000 * 500)


@pytest.mark.parametrize("name", ["meta-llama/Meta-Llama-3-8B-Instruct", "LLAMA_3_8B", "llama-3-8b-hf"])
def test_authors_names_are_understood(name: str) -> None:
    assert model_facts(name) == model_facts("llama-3-8b")


def test_an_unknown_model_gets_the_nearest_three() -> None:
    with pytest.raises(UnknownName, match=r"model: 'llama-4-8b' is not known\. Nearest: .*llama-3-8b"):
        model_facts("llama-4-8b")


def test_a_folder_a_file_and_a_config_say_the_same(tmp_path: Path) -> None:
    config = {
        "model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936, "tie_word_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = [model_facts(tmp_path), model_facts(tmp_path / "config.json"), model_facts(config)]
    assert {one.parameters for one in found} == {model_facts("qwen2.5-0.5b").parameters}
    assert found[0].name == tmp_path.name
    assert model_facts({"text_config": config}).parameters == found[0].parameters


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": None}, "must have hidden_size"),
        ({"num_key_value_heads": 3}, "must divide num_heads"),
        ({"layer_types": ["linear_attention", "full_attention"]}, "every layer must have attention"),
        ({"num_experts": 4, "num_experts_per_tok": 5}, "1 to 4 experts"),
        ({"num_hidden_layers": 0}, "num_layers must be >= 1"),
    ],
)
def test_a_config_without_a_fact_is_refused(change: dict[str, Any], said: str) -> None:
    config = {
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "vocab_size": 100, **change,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=said):
        model_facts(config)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json: must be"):
        model_facts(tmp_path)
    with pytest.raises(ConfigError, match="must be a file that can be read"):
        model_facts(tmp_path / "none.json")


def test_all_shipped_models_can_be_read() -> None:
    assert len(shipped_models()) >= 25
    assert all(isinstance(model_facts(name), ModelFacts) for name in shipped_models())


@pytest.mark.parametrize(
    "change", [{"num_attention_heads": 0}, {"kv_lora_rank": 8}, {"num_experts": 8}, {"layer_types": 3}]
)
def test_a_config_without_sense_is_refused(change: dict[str, Any]) -> None:
    whole = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": 9}
    assert model_facts(whole).head_dim == 16
    with pytest.raises(ConfigError, match="must have a whole transformers config"):
        model_facts({**whole, **change})
