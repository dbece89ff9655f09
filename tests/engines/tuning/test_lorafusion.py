"""Several adapters trained at once come to what each comes to alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headway.core.errors import ConfigError
from headway.engines.tuning.lorafusion import Descending, LiveJob, Together, train_together
from headway.engines.tuning.lorafusion_packing import Order, draw_mask, pack_row
from headway.engines.tuning.lorafusion_sharing import SharedModel
from headway.policies.tuning.lorafusion import LoraFusion
from headway.policies.tuning.lorafusion_nouns import Mix, Part
from headway.policies.tuning.one_by_one import OneByOne

VOCAB = 97
Examples = list[tuple[NDArray[np.int32], NDArray[np.bool_]]]


def tiny() -> Any:
    import transformers as tf

    config = tf.LlamaConfig(vocab_size=VOCAB, num_hidden_layers=2, hidden_size=32, num_attention_heads=4,
                            num_key_value_heads=2, intermediate_size=48)  # fmt: skip
    torch.manual_seed(1)
    return tf.AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def settings(rank: int, dropout: float = 0.0) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=16, target_modules="all-linear", lora_dropout=dropout, task_type="CAUSAL_LM")


def made(seed: int, num: int, longest: int = 20) -> Examples:
    rng = np.random.default_rng(seed)
    found: Examples = []
    for _ in range(num):
        ids = rng.integers(0, VOCAB, int(rng.integers(3, longest + 1))).astype(np.int32)
        trained = rng.random(len(ids)) < 0.6
        trained[0], trained[-1] = False, True
        found.append((ids, trained))
    return found


def in_order(num: int, size: int) -> Order:
    return Order(tuple(tuple(range(first, min(first + size, num))) for first in range(0, num, size)))


def jobs_of(names: list[str], rate: float = 3e-3) -> list[LiveJob]:
    found = []
    for nth, name in enumerate(names):
        seed = int(name.removeprefix("job"))
        num, size = 6 + 2 * seed, 2 + seed % 3
        found.append(LiveJob(name, made(seed, num), in_order(num, size), Descending(learning_rate=rate * (nth + 1))))
    return found


def shared(names: list[str], dropout: float = 0.0) -> SharedModel:
    ranks = {name: 2 + int(name.removeprefix("job")) for name in names}
    return SharedModel(tiny(), {name: settings(rank, dropout) for name, rank in ranks.items()}, ranks)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_it_does_not_matter_who_else_is_trained_or_how_large_a_microbatch_is(dropout: float) -> None:
    names = ["job0", "job1", "job2"]
    together, alone = jobs_of(names), jobs_of(names)
    engine = Together(shared(names, dropout=dropout), together, 64, 4)
    train_together(engine, LoraFusion(merge_tokens=8))
    assert engine.num_mixes < sum(len(job.order.batches) for job in together)
    train_together(Together(shared(names, dropout=dropout), alone, 24), OneByOne())
    for one, other in zip(together, alone, strict=True):
        assert len(one.losses) == len(one.order.batches)
        assert one.losses == pytest.approx(other.losses, rel=2e-5)


def test_dropout_drops_as_much_as_it_says_and_the_same_for_one_example_anywhere() -> None:
    data, order = {"a": made(0, 4, 30), "b": made(1, 4, 30)}, in_order(4, 4)
    one = Mix((Part("a", 0, (2,), (len(data["a"][2][0]),)),))
    lengths = tuple(len(data["a"][nth][0]) for nth in (1, 2))
    both = Mix((Part("b", 0, (0,), (len(data["b"][0][0]),)), Part("a", 0, (1, 2), lengths)))
    device = torch.device("cpu")
    rows = [pack_row(mix, data, {"a": order, "b": order}, 8, device) for mix in (one, both)]
    masks = [draw_mask(row, {"a": 0.25}, 200, 7) for row in rows]
    found = []
    for row, mask in zip(rows, masks, strict=True):
        assert mask is not None
        at = row.shares["a"].examples[-1].at
        found.append(mask[at.start : at.stop])
    torch.testing.assert_close(found[0], found[1])
    assert 0.2 < 1 - float(found[0].float().mean()) < 0.3
    assert masks[1] is not None
    assert masks[1][: rows[1].shares["b"].at.stop].all()
    assert draw_mask(rows[0], {"b": 0.5}, 200, 7) is None


def test_a_row_has_whole_tiles_and_foretells_trained_tokens_from_those_before() -> None:
    ids, trained = np.array([5, 6, 7, 8, 9], np.int32), np.array([False, False, True, False, True])
    data = {"a": [(ids, trained)], "b": [(ids[:3], trained[:3])]}
    order = {name: in_order(1, 1) for name in data}
    row = pack_row(Mix((Part("a", 0, (0,), (5,)), Part("b", 0, (0,), (3,)))), data, order, 4, torch.device("cpu"))
    assert row.ids.tolist() == [[5, 6, 7, 8, 9, 0, 0, 0, 5, 6, 7, 0]]
    assert row.positions.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 0]]
    assert row.sequences == [5, 3, 3, 1]
    assert row.before.tolist() == [1, 3, 9]
    assert row.labels.tolist() == [7, 9, 7]
    assert [(one.at.start, one.at.stop, one.labels.start, one.labels.stop) for one in row.shares.values()] == [
        (0, 8, 0, 2), (8, 12, 2, 3)
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["layers.0.self_attn.q_proj.lora_A", "layers.1.mlp.down_proj.lora_B"])
def test_one_that_goes_astray_ends_and_the_others_go_on_as_if_it_had_not_been_there(where: str) -> None:
    jobs, model = jobs_of(["job0", "job1", "job2"]), shared(["job0", "job1", "job2"])
    (bad,) = [weight for name, weight in model.weights["job1"].items() if where in name]
    with torch.no_grad():
        bad.fill_(float("nan"))
    train_together(Together(model, jobs, 64), LoraFusion(merge_tokens=8))
    assert re.fullmatch(r"job1: tune: the (loss|gradient) must be a number, got .*nan.*\.", jobs[1].why)
    assert jobs[1].losses == []
    alone = jobs_of(["job0", "job1", "job2"])
    train_together(Together(shared(["job0", "job1", "job2"]), [alone[0], alone[2]], 64), OneByOne())
    for one, other in zip((jobs[0], jobs[2]), (alone[0], alone[2]), strict=True):
        assert one.losses == pytest.approx(other.losses, rel=2e-5)
        assert not one.why


def test_it_stops_when_it_is_told_to() -> None:
    jobs, told = jobs_of(["job0", "job1"]), []
    engine = Together(
        shared(["job0", "job1"]),
        jobs,
        64,
        on_step=lambda job, tally, rate: told.append(job.id),
        stopped=lambda: len(told) > 1,
    )
    train_together(engine, OneByOne())
    assert told == ["job0", "job0"]


def test_a_job_whose_name_peft_cannot_take_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"must have no dot, got 'a\.b'"):
        SharedModel(tiny(), {"a.b": settings(2)}, {"a.b": 0})
