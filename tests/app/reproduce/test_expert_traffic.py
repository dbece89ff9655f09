"""Reads of experts, counted by hand."""

from __future__ import annotations

import pytest

from headway.app.reproduce.claims.expert_traffic import ExpertTraffic
from headway.app.reproduce.serving import Setting
from headway.policies.serving.layered_prefill import LayeredPrefill
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import Batch
from headway.sim.serving.cost.configs import model_facts
from headway.sim.serving.cost.experts import Coverage
from headway.traces.generate.lengths import Fixed

MODEL = "qwen3-30b-a3b"


def read_bytes(batch: Batch, output_tokens: int) -> float:
    lengths = Fixed(prompt_tokens=1024, output_tokens=output_tokens)
    setting = Setting(model=MODEL, accelerator="h100-sxm", lengths=lengths, tensor_parallel=2, num_requests=1)
    counting = ExpertTraffic(MODEL, 1.0, batch=batch)
    setting.scenario.play(counting, seed=0)
    return counting.read_bytes


def layers_of(tokens: int) -> float:
    """What all layers read for so many tokens: 48 layers, experts of three matrices of 768 by 2048 in 16 bits."""
    return 48 * Coverage(128, 8, 1.0).distinct(tokens) * 3 * 768 * 2048 * 2


def test_each_chunk_reads_experts_anew_and_a_whole_prompt_once() -> None:
    assert model_facts(MODEL).num_moe_layers == 48
    assert read_bytes(SarathiServe(token_budget=512), 1) == pytest.approx(2 * layers_of(512))
    assert read_bytes(LayeredPrefill(), 1) == pytest.approx(layers_of(1024))


def test_repeated_decodes_count_as_often_as_they_ran() -> None:
    more = read_bytes(LayeredPrefill(), 101) - read_bytes(LayeredPrefill(), 1)
    assert more == pytest.approx(100 * layers_of(1))
