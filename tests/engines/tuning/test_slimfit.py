"""SlimFit in real time: what is frozen stays, what is kept is what was foretold, and models come back whole."""

from __future__ import annotations

import asyncio
import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import ConfigError, TuneError
from headway.engines.tuning.slimfit import Batch, fine_tune
from headway.engines.tuning.slimfit_layers import slim
from headway.engines.tuning.slimfit_recipe import FineTuned, Recipe
from headway.engines.tuning.slimfit_units import relative_change, units_of
from headway.policies.tuning.slimfit import SlimFit

BATCH, WORDS, LENGTH = 6, 50, 16


def bert(num_layers: int = 2, dropped_frac: float = 0.0) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=dropped_frac,
        attention_probs_dropout_prob=dropped_frac,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


def vit() -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    return ViTForImageClassification(config)


def sentences(num: int) -> list[Batch]:
    dice = torch.Generator().manual_seed(1)
    words = [torch.randint(3, WORDS, (BATCH, LENGTH), generator=dice) for _ in range(num)]
    return [{"input_ids": one, "labels": (one[:, 0] > WORDS // 2).long()} for one in words]


def pictures(num: int) -> list[Batch]:
    dice = torch.Generator().manual_seed(1)
    found = [torch.randn((BATCH, 1, 8, 8), generator=dice) for _ in range(num)]
    return [{"pixel_values": one, "labels": (one.mean((1, 2, 3)) > 0).long()} for one in found]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_units_are_matrices_and_layer_norms() -> None:
    names = [unit.name for unit in units_of(bert())]
    assert len(names) == 4 + 2 * 8 + 2
    assert "bert.encoder.layer.0.attention.output.LayerNorm.weight" in names
    assert not [name for name in names if name.endswith("bias")]
    with slim(bert()) as model:
        assert [unit.name for unit in units_of(model)] == names
    biases = {unit.name: len(unit.biases) for unit in units_of(bert())}
    assert biases["classifier.weight"] == 1
    assert biases["bert.embeddings.word_embeddings.weight"] == 0


@pytest.mark.parametrize(("make", "batches"), [(bert, sentences), (vit, pictures)])
def test_a_slim_model_computes_what_the_plain_one_does(make: Any, batches: Any) -> None:
    model, (batch,) = make(), batches(1)
    plain = model(**batch).loss
    layers = [type(module) for module in model.modules()]
    with slim(model) as same:
        assert same is model
        assert not any(type(module) in (nn.Linear, nn.LayerNorm) for module in model.modules())
        out = model(**batch).loss
        out.backward()
    torch.testing.assert_close(out, plain)
    assert [type(module) for module in model.modules()] == layers
    assert model.config._attn_implementation == "eager"
    found = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    plain.backward()
    exact = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert torch.cosine_similarity(found, exact, dim=0) > 0.98


def test_a_causal_decoder_with_shared_keys_is_slim_where_it_can_be() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    words = sentences(1)[0]["input_ids"]
    batch = {"input_ids": words, "labels": words}
    plain = model(**batch).loss
    with slim(model):
        torch.testing.assert_close(model(**batch).loss, plain)
    assert model.config._attn_implementation == "sdpa"
    done = fine_tune(model, [batch] * 20, freeze_frac=0.7, recipe=Recipe(learning_rate=1e-2))
    assert done.losses[-1] < 0.9 * done.losses[0]


def test_frozen_norms_may_be_kept_whole() -> None:
    sizes = {}
    for norm_frac in (0.1, 1.0):
        recipe = Recipe(norm_frac=norm_frac, counts_bytes=True)
        done = fine_tune(bert(), sentences(2), policy=SlimFit(schedule="last"), recipe=recipe)
        sizes[norm_frac] = max(done.saved_bytes)
    num_values = BATCH * LENGTH * 32
    assert sizes[1.0] - sizes[0.1] == 4 * (4 * num_values - 8 * (num_values // 10))  # all but the last of five norms


def test_what_its_user_froze_is_left_alone() -> None:
    model = bert()
    model.bert.embeddings.requires_grad_(False)
    before = weights_of(model)
    done = fine_tune(model, sentences(3), freeze_frac=0.0, recipe=Recipe(learning_rate=1e-2))
    assert not [name for name in done.num_trained() if "embeddings" in name]
    for name, value in model.named_parameters():
        assert value.requires_grad == ("embeddings" not in name)
        if "embeddings" in name:
            assert torch.equal(value, before[name])


def test_it_runs_where_a_loop_runs_already() -> None:
    async def notebook() -> FineTuned:
        return fine_tune(bert(), sentences(2))

    assert asyncio.run(notebook()).losses == fine_tune(bert(), sentences(2)).losses


def test_weights_that_are_never_frozen_are_no_units() -> None:
    model = bert()
    before = weights_of(model)
    recipe = Recipe(learning_rate=1e-2, always=("classifier",))
    done = fine_tune(model, sentences(2), freeze_frac=0.9, recipe=recipe)
    assert "classifier.weight" not in done.num_trained()
    assert not torch.equal(model.classifier.weight, before["classifier.weight"])


def test_padding_is_masked_in_a_slim_model_too() -> None:
    model, (batch,) = bert().eval(), sentences(1)
    mask = torch.ones_like(batch["input_ids"])
    mask[:, 10:] = 0
    plain = model(**batch, attention_mask=mask).logits
    with slim(model):
        torch.testing.assert_close(model(**batch, attention_mask=mask).logits, plain)


def test_without_freezing_and_slim_layers_it_is_plain_training() -> None:
    ours, theirs, batches = bert(), bert(), sentences(4)
    done = fine_tune(ours, batches, freeze_frac=0.0, recipe=Recipe(learning_rate=1e-3, slim_layers=False))
    decayed = [p for n, p in theirs.named_parameters() if not n.endswith("bias")]
    others = [p for n, p in theirs.named_parameters() if n.endswith("bias")]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}])
    losses = []
    for nth, batch in enumerate(batches):
        loss = theirs(**batch).loss
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - nth / 4)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert done.losses == pytest.approx(losses, abs=1e-6)
    torch.testing.assert_close(weights_of(ours), weights_of(theirs))


def test_frozen_units_do_not_move_and_have_no_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizers: list[torch.optim.AdamW] = []
    made = torch.optim.AdamW.__init__

    def remember(self: torch.optim.AdamW, *args: Any, **more: Any) -> None:
        optimizers.append(self)
        made(self, *args, **more)

    monkeypatch.setattr(torch.optim.AdamW, "__init__", remember)
    model = bert()
    before = weights_of(model)
    recipe = Recipe(learning_rate=1e-2, weight_decay=0.5)
    done = fine_tune(model, sentences(3), freeze_frac=0.8, policy=SlimFit(schedule="last"), recipe=recipe)
    trained = {name for name, count in done.num_trained().items() if count}
    steps = {id(weight): state["step"].item() for weight, state in optimizers[0].state.items()}
    for name, value in model.named_parameters():
        moved = not torch.equal(value, before[name])
        if name in done.num_trained():
            assert moved == (name in trained), name
            assert steps.get(id(value), 0) == done.num_trained()[name]
    assert 0 < len(trained) < len(done.job.units)


def test_biases_follow_their_weights_when_told_so() -> None:
    model = bert()
    before = weights_of(model)
    recipe = Recipe(learning_rate=1e-2, all_biases=False)
    fine_tune(model, sentences(2), freeze_frac=0.9, policy=SlimFit(schedule="last"), recipe=recipe)
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    last = ("classifier", "bert.pooler.dense", "bert.encoder.layer.1.output.LayerNorm")
    assert moved <= {f"{name}.{kind}" for name in last for kind in ("weight", "bias")}
    assert "classifier.bias" in moved
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(("make", "batches"), [(bert, sentences), (vit, pictures)])
def test_what_is_kept_is_what_the_job_foretells(make: Any, batches: Any) -> None:
    done = fine_tune(make(), batches(6), freeze_frac=0.8, recipe=Recipe(counts_bytes=True))
    for active, saved in zip(done.active, done.saved_bytes, strict=True):
        weights = done.job.gradient_bytes * sum(done.job.units[place].num_weights for place in active)
        foretold = done.job.peak_bytes(active) - done.job.resident_bytes - weights
        assert 0 <= foretold - saved <= 0.06 * saved


def test_slim_layers_keep_far_less_than_plain_ones() -> None:
    def most(**more: Any) -> int:
        frac = more.pop("freeze_frac")
        recipe = Recipe(counts_bytes=True, **more)
        done = fine_tune(bert(dropped_frac=0.1), sentences(6), freeze_frac=frac, recipe=recipe)
        return max(done.saved_bytes)

    full, frozen, slim_full = most(freeze_frac=0.0, slim_layers=False), most(freeze_frac=0.9), most(freeze_frac=0.0)
    assert full / frozen > 3
    assert full > slim_full > frozen


def test_one_seed_one_result() -> None:
    runs: list[FineTuned] = []
    for dice in (5, 6):  # torch's own dice do not matter
        model = bert(dropped_frac=0.1)
        torch.manual_seed(dice)
        runs.append(fine_tune(model, sentences(4), recipe=Recipe(seed=3)))
    assert runs[0].losses == runs[1].losses
    assert runs[0].active == runs[1].active


def test_the_loss_falls() -> None:
    done = fine_tune(bert(1), sentences(4) * 20, freeze_frac=0.8, recipe=Recipe(learning_rate=3e-3))
    assert sum(done.losses[-4:]) < 0.8 * sum(done.losses[:4])


def test_too_little_memory_is_said_before_anything_is_trained() -> None:
    model = bert()
    before = weights_of(model)
    with pytest.raises(TuneError, match=r"no device has the .* bytes it takes"):
        fine_tune(model, sentences(2), recipe=Recipe(memory_bytes=1000))
    torch.testing.assert_close(weights_of(model), before, rtol=0, atol=0)


def test_little_memory_freezes_more() -> None:
    job = fine_tune(bert(), sentences(1)).job
    done = fine_tune(bert(), sentences(2), freeze_frac=0.0, recipe=Recipe(memory_bytes=job.bytes_at(0.7)))
    assert len(done.active[0]) < len(job.units) * 0.4


def test_a_loss_that_is_no_number_ends_the_run_and_the_model_is_whole() -> None:
    model, poison = bert(), iter([1.0, 1.0, 1.0, math.nan])  # two of them for the look at what is kept

    def poisoned(net: nn.Module, batch: Batch) -> Tensor:
        return net(**batch).loss * next(poison)  # type: ignore[no-any-return]

    with pytest.raises(TuneError, match="iteration 1 must be a number, got nan"):
        fine_tune(model, sentences(3), loss=poisoned)
    assert not [module for module in model.modules() if type(module).__module__.startswith("headway")]
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(bool(value.isfinite().all()) for value in model.parameters())


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0.0}, {"weight_decay": -1.0}, {"norm_frac": 0.0}, {"memory_bytes": 0.0}]
)
def test_a_recipe_out_of_range_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"slimfit: {next(iter(wrong))} must be"):
        Recipe(**wrong)  # type: ignore[arg-type]


def test_no_batches_and_no_weights_are_errors() -> None:
    with pytest.raises(ConfigError, match="there must be a batch"):
        fine_tune(bert(), [])
    with pytest.raises(ConfigError, match="must have weights"):
        fine_tune(nn.ReLU(), sentences(1))


def test_changes_are_relative_and_survive_zeros() -> None:
    old = torch.tensor([1.0, -2.0, 4.0])
    assert relative_change(old * 1.1, old) == pytest.approx(0.1)
    assert relative_change(old, old) == 0.0
    nearly = torch.tensor([1.0, 1e-12])
    assert relative_change(nearly + 0.01, nearly) < 2.0  # divided by a hundredth of the mean, not by 1e-12
    assert math.isfinite(relative_change(torch.ones(3), torch.zeros(3)))


def test_other_layers_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Conv1d(3, 3, 1), nn.GELU(approximate="tanh"), nn.LayerNorm((2, 3)), nn.Linear(3, 3))
    kinds = [type(layer) for layer in model]
    with slim(copy.deepcopy(model)) as changed:
        now = [type(layer) for layer in changed.children()]
    assert now[:3] == kinds[:3]
    assert now[3] is not nn.Linear
