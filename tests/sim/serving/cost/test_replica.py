"""Replicas: what fits, what it costs, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from headway.core.errors import ConfigError, UnknownName
from headway.sim.serving.cost import EngineFit, PowerModel, Replica, replica
from headway.sim.serving.price import BatchShape, Chunk


def power_of(made: Replica) -> PowerModel:
    assert made.power is not None
    return made.power


def test_a_vllm_server_found_about_as_many_tokens() -> None:
    """Llama-3.1-8B in bf16 on an RTX 4090, 0.9 of it, 2,048 batched tokens: vLLM 0.19 found 2,588 blocks of 16."""
    found = replica("llama-3.1-8b", "rtx-4090", max_batched_tokens=2048).num_kv_tokens
    assert found == pytest.approx(2588 * 16, rel=0.05)


def test_pipeline_stages_and_shards_make_room() -> None:
    one = replica("llama-3-8b", "a100").num_kv_tokens
    for tensor, pipeline in ((2, 1), (1, 2)):
        made = replica("llama-3-8b", "a100", tensor_parallel=tensor, pipeline_parallel=pipeline)
        assert 2 * one < made.num_kv_tokens < 3 * one


def test_latent_attention_is_copied_to_every_shard() -> None:
    """Eight shards of DeepSeek's KV hold no more tokens than one shard's memory does."""
    made = replica("deepseek-r1", "h200", tensor_parallel=8, weights="fp8")
    assert made.num_kv_tokens * made.kv_token_bytes < 139.8 * 2**30


def test_money_power_and_links_are_of_all_accelerators() -> None:
    one, four = (replica("llama-3-8b", "h100", tensor_parallel=count) for count in (1, 4))
    assert four.num_accelerators == 4
    for what in ("usd_per_h", "link_bytes_per_s", "host_bytes_per_s"):
        assert getattr(four, what) == 4 * getattr(one, what)
    assert power_of(four).idle_watts == 4 * power_of(one).idle_watts
    assert four.load_s < one.load_s
    assert (one.num_layers, one.num_stages, one.kv_token_bytes) == (32, 1, 131072)


def test_power_lies_between_idle_and_the_design_and_grows_with_work() -> None:
    made = replica("llama-3-8b", "a100")
    shapes = [BatchShape(1, 100), BatchShape(16, 8_000), BatchShape(0, 0, (Chunk(4096, 0),))]
    watts = [power_of(made).watts(shape) for shape in shapes]
    assert power_of(made).idle_watts < watts[0] < watts[1] < watts[2] <= 400


def test_utilisation_is_of_what_binds() -> None:
    made = replica("llama-3-8b", "a100", engine_fit=EngineFit(step_s=0.0, sequence_s=0.0))
    compute, memory = power_of(made).utilisation(BatchShape(0, 0, (Chunk(8192, 0),)))
    assert compute > 0.6 > 0.1 > memory
    compute, memory = power_of(made).utilisation(BatchShape(4, 400))
    assert memory > 0.5 > 0.1 > compute


def test_an_accelerator_that_was_measured_has_no_notes_and_another_says_whose_it_borrows() -> None:
    assert replica("llama-3-8b", "a100").notes == ()
    (note,) = replica("llama-3-8b", "l40s").notes
    assert note.startswith("l40s: uncalibrated")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "llama-3-70b"}, r"must fit .* it needs \d+\.\d GB on each, \d+\.\d GB are there\. Try .* = 2"),
        ({"tensor_parallel": 3}, r"must divide the 32 heads .* got 3\. Try one of 1, 2, 4, 8"),
        ({"tensor_parallel": 16}, "be <= 8"),
        ({"tensor_parallel": 0}, "got 0"),
        ({"model": "qwen2.5-7b", "tensor_parallel": 7}, "KV heads"),
        ({"pipeline_parallel": 33}, "32 layers"),
        ({"memory_frac": 0.0}, r"memory_frac must be in \(0, 1\]"),
        ({"memory_frac": 1.1}, "memory_frac"),
        ({"max_batched_tokens": 0}, "max_batched_tokens must be >= 1"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"model": "llama-3-8b", "accelerator": "a100", **change}
    with pytest.raises(ConfigError, match=said):
        replica(given.pop("model"), given.pop("accelerator"), **given)


@pytest.mark.parametrize("change", [{"weights": "fp7"}, {"kv": "int4"}, {"engine_fit": "vlm"}])
def test_unknown_names_get_the_nearest(change: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match="Nearest"):
        replica("llama-3-8b", "a100", **change)
