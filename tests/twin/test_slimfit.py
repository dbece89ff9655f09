"""SlimFit decides the same in virtual time as it did live, given the changes that were measured there."""

from __future__ import annotations

from typing import Any

import torch
from msgspec.structs import replace

from headway.core.actions import Action
from headway.core.drivers import simulate
from headway.core.nouns import Resource
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.engines.tuning.slimfit import fine_tune
from headway.engines.tuning.slimfit_recipe import FineTuned, Recipe
from headway.policies.tuning.slimfit import SlimFit
from headway.policies.tuning.slimfit_board import BYTES
from headway.policies.tuning.slimfit_nouns import TrainUnits
from headway.sim.tuning.slimfit import HiddenRun, Recorded, SlimFitWorld
from headway.sim.tuning.slimfit_shapes import Encoder, plain_activations, slim_job

BATCH, LENGTH, WIDTH, WORDS = 8, 32, 48, 70


def live(**more: Any) -> FineTuned:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=LENGTH,
        attn_implementation="eager",
        **more.pop("config", {}),
    )
    torch.manual_seed(0)
    words = torch.randint(0, WORDS, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": words, "labels": words[:, 0] % 2}
    return fine_tune(
        BertForSequenceClassification(config),
        [batch] * 12,
        freeze_frac=more.pop("freeze_frac", 0.8),
        recipe=Recipe(counts_bytes=True, learning_rate=1e-3, seed=5, **more),
    )


def test_decisions_are_the_same_in_both_times() -> None:
    done = live()
    changes = {
        (unit, nth): change
        for nth, (active, changed) in enumerate(zip(done.active, done.changes, strict=True))
        for unit, change in zip(active, changed, strict=True)
    }
    gpu = Resource(id="device", kind="device", capacity={BYTES: 1e12}, traits={"flops_per_s": 1e9})
    world = SlimFitWorld([HiddenRun(job=replace(done.job), dynamics=Recorded(changes))], [gpu])
    policy, trace = SlimFit(), MemoryTrace()
    simulate(world, policy, session=Session(policy, world.view, seed=5, trace=trace))
    assert [action.active for action in trace.actions if isinstance(action, TrainUnits)] == done.active
    assert all(isinstance(action, Action) for action in trace.actions)


def shape(dropout: bool) -> Encoder:
    return Encoder(
        batch=BATCH,
        sequence=LENGTH,
        num_layers=3,
        width=WIDTH,
        num_heads=4,
        inner=4 * WIDTH,
        vocabulary=WORDS,
        dropout=dropout,
    )


def test_the_account_of_slim_layers_is_what_a_live_model_keeps() -> None:
    done, foretold = live(), slim_job(shape(dropout=True), "job", 12)
    for active, saved in zip(done.active, done.saved_bytes, strict=True):
        weights = 4 * sum(foretold.units[place].num_weights for place in active)
        assert abs(foretold.peak_bytes(active) - foretold.resident_bytes - weights - saved) < 0.05 * saved
    assert foretold.resident_bytes == done.job.resident_bytes


def test_the_account_of_plain_layers_is_what_a_live_model_keeps() -> None:
    without = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    done = live(slim_layers=False, freeze_frac=0.0, config=without)
    foretold = plain_activations(shape(dropout=False))
    assert abs(foretold - max(done.saved_bytes)) < 0.05 * foretold
