"""Whatever is done to a run on its way, it learns what a plain training loop learns."""

from __future__ import annotations

import errno
import math
import random
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engines.tuning.making import VOCAB, make_spec, plain_loop, save_model, write_tokens
from headway.core.errors import ConfigError, TuneError
from headway.engines.tuning import descent, folder, under_way
from headway.engines.tuning.curve import read_curve
from headway.engines.tuning.lent import LentMemory
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.tokens import Examples, writing_examples
from headway.engines.tuning.trainer import Trainer
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import TuneJob, TuneUnit

Weights = dict[str, torch.Tensor]


def train(spec: TuneSpec, **options: Any) -> tuple[list[TuneNews], Weights]:
    """Train to the end, in units as large as can be."""
    news: list[TuneNews] = []
    trainer = Trainer(spec, **options)
    assert trainer.train(news.append)
    return news, load_file(trainer.finish() / "adapter_model.safetensors")


def play(trainer: Trainer, seed: int, drop: Callable[[], None] | None = None) -> tuple[list[TuneNews], Weights]:
    """Train to the end in units of odd sizes, dropping microbatches now and then, as the books of jobs say."""
    dice = random.Random(seed)
    state = JobState(TuneJob(id="j", arrival_s=0.0, num_layers=trainer.num_layers, microbatches=trainer.plan))
    news: list[TuneNews] = []
    while (unit := state.next_unit(dice.randint(1, trainer.num_layers + 1))) is not None:
        torch.manual_seed(dice.randint(0, 99))
        trainer.run(unit)
        state.take(unit)
        if dice.random() < 0.15:
            state.drop()
            (drop or trainer.drop)()
        news += trainer.news()
    assert state.num_dropped > 0
    assert trainer.position == len(trainer.plan)
    return news, load_file(trainer.finish() / "adapter_model.safetensors")


def losses(news: list[TuneNews]) -> list[float]:
    return [one.loss for one in news if one.loss is not None]


def valid_losses(news: list[TuneNews]) -> list[float | None]:
    return [one.valid_loss for one in news if one.what == "validated"]


def equal(some: Weights, others: Weights) -> bool:
    return some.keys() == others.keys() and all(torch.equal(some[name], others[name]) for name in some)


@pytest.mark.parametrize("name", ["Llama", "Qwen2", "Gemma2", "GPTNeoX", "OPT", "GPT2"])
def test_it_learns_what_a_plain_loop_learns(tmp_path: Path, name: str) -> None:
    targets = {"OPT": ("q_proj", "fc1"), "GPT2": ("c_attn", "c_fc")}.get(name, ())
    spec = make_spec(tmp_path, save_model(name, tmp_path / "model"), targets=targets)
    expected, weights = plain_loop(spec)
    news, mine = play(Trainer(spec), seed=1)
    assert losses(news) == pytest.approx(expected, rel=1e-4)
    assert mine.keys() == weights.keys()
    for key in mine:
        assert torch.allclose(mine[key], weights[key], atol=2e-3), key


def test_cuts_and_drops_change_not_a_bit(tmp_path: Path, llama: str) -> None:
    write_tokens(tmp_path / "valid", num=5, seed=9)
    changes: dict[str, Any] = {"valid_tokens": str(tmp_path / "valid"), "dropout": 0.3}
    news, weights = train(make_spec(tmp_path, llama, **changes))
    for seed in range(2):
        spec = make_spec(tmp_path, llama, folder=str(tmp_path / f"run{seed}"), **changes)
        others, other_weights = play(Trainer(spec), seed)
        assert losses(others) == losses(news)
        assert valid_losses(others) == valid_losses(news)
        assert equal(other_weights, weights)


def test_dropout_falls_another_way_with_another_seed(tmp_path: Path, llama: str) -> None:
    found = [
        losses(train(make_spec(tmp_path, llama, folder=str(tmp_path / str(share)), dropout=share, num_epochs=1))[0])
        for share in (0.0, 0.3)
    ]
    assert found[0] != found[1]


def test_the_cut_into_microbatches_changes_next_to_nothing(tmp_path: Path, llama: str) -> None:
    found = []
    for most in (1, 40, 1000):
        spec = make_spec(tmp_path, llama, folder=str(tmp_path / str(most)), microbatch_tokens=most)
        trainer = Trainer(spec)
        news: list[TuneNews] = []
        trainer.train(news.append)
        found.append((len(trainer.plan), losses(news)))
    assert found[0][0] > found[1][0] > found[2][0] == 8
    assert found[0][1] == pytest.approx(found[2][1], rel=1e-4)
    assert found[1][1] == pytest.approx(found[2][1], rel=1e-4)


def test_activations_may_live_in_lent_blocks(tmp_path: Path, llama: str) -> None:
    news, weights = train(make_spec(tmp_path, llama))
    pool = [torch.randint(0, 256, (400, 512), dtype=torch.uint8) for _ in range(6)]
    before = [side.clone() for side in pool]
    memory = LentMemory(pool)
    trainer = Trainer(make_spec(tmp_path, llama, folder=str(tmp_path / "lent")), memory)
    num_blocks = memory.blocks_for(trainer.saved_bytes)
    assert 0 < num_blocks < 200
    blocks = list(range(1, 2 * num_blocks, 2))
    memory.lend(blocks)

    def drop() -> None:
        trainer.drop()
        memory.lend(memory.take_back())

    others, other_weights = play(trainer, 5, drop)
    assert losses(others) == losses(news)
    assert equal(other_weights, weights)
    untouched = [index for index in range(400) if index not in blocks]
    assert all(torch.equal(new[untouched], old[untouched]) for new, old in zip(pool, before, strict=True))
    assert any(not torch.equal(new[blocks], old[blocks]) for new, old in zip(pool, before, strict=True))


def test_what_is_computed_again_takes_little_memory_and_comes_to_the_same(tmp_path: Path, llama: str) -> None:
    changes: dict[str, Any] = {"dropout": 0.3, "num_epochs": 1}
    news, weights = train(make_spec(tmp_path, llama, **changes))
    saved_bytes = Trainer(make_spec(tmp_path, llama, **changes)).saved_bytes
    memory = LentMemory([torch.zeros(400, 128, dtype=torch.uint8) for _ in range(6)])
    trainer = Trainer(make_spec(tmp_path, llama, folder=str(tmp_path / "again"), recompute=True, **changes), memory)
    assert trainer.saved_bytes < saved_bytes / 5
    memory.lend(range(memory.blocks_for(trainer.saved_bytes)))
    others, other_weights = play(trainer, 4)
    assert losses(others) == losses(news)
    assert equal(other_weights, weights)


def test_too_little_lent_memory_is_an_error_that_can_be_mended(tmp_path: Path, llama: str) -> None:
    memory = LentMemory([torch.zeros(400, 512, dtype=torch.uint8) for _ in range(6)])
    trainer = Trainer(make_spec(tmp_path, llama, num_epochs=1), memory)
    memory.lend(range(memory.blocks_for(trainer.saved_bytes) // 3))
    unit = TuneUnit("j", 0, (0, trainer.num_layers), "forward")
    largest = max(range(len(trainer.plan)), key=lambda index: trainer.plan[index].tokens)
    trainer.position = largest
    with pytest.raises(TuneError, match="do not fit into"):
        trainer.run(TuneUnit("j", largest, unit.layers, "forward"))
    trainer.drop()
    trainer.position = 0
    memory.lend(range(200, 400))
    assert trainer.train(lambda _: None)


def test_an_engine_in_inference_mode_may_train(tmp_path: Path, llama: str) -> None:
    news, _ = train(make_spec(tmp_path, llama, num_epochs=1))
    with torch.inference_mode():
        others, _ = train(make_spec(tmp_path, llama, num_epochs=1, folder=str(tmp_path / "other")))
    assert losses(others) == losses(news)


def test_the_validation_is_what_the_model_says_of_it(tmp_path: Path, llama: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    write_tokens(tmp_path / "valid", num=5, seed=9)
    spec = make_spec(tmp_path, llama, valid_tokens=str(tmp_path / "valid"))
    trainer, news = Trainer(spec), list[TuneNews]()
    trainer.train(news.append)
    with warnings.catch_warnings(action="ignore"):
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), str(trainer.finish())).eval()
    examples, total, right = Examples(spec.valid_tokens), 0.0, 0
    for index in range(len(examples)):
        ids, trained = (torch.from_numpy(np.array(part)) for part in examples[index])
        with torch.no_grad():
            logits = model(input_ids=ids[None].long()).logits[0, :-1][trained[1:]]
        total += float(torch.nn.functional.cross_entropy(logits, ids[1:][trained[1:]].long(), reduction="sum"))
        right += int((logits.argmax(-1) == ids[1:][trained[1:]]).sum())
    last = [one for one in news if one.what == "validated"][-1]
    num = int(examples.num_trained.sum())
    assert len(valid_losses(news)) == spec.num_epochs
    assert last.valid_loss == pytest.approx(total / num, rel=1e-4)
    assert last.accuracy == pytest.approx(right / num)


def test_it_learns_what_it_is_taught(tmp_path: Path, llama: str) -> None:
    news, _ = train(make_spec(tmp_path, llama, num_epochs=10, learning_rate=3e-2))
    assert losses(news)[-1] < 0.5 * losses(news)[0]


def test_news_say_how_far_it_has_come(tmp_path: Path, llama: str) -> None:
    spec = make_spec(tmp_path, llama, checkpoint_steps=3)
    news, _ = train(spec)
    assert news[0].what == "loaded"
    steps = [one for one in news if one.what == "step"]
    assert [one.step for one in steps] == list(range(1, 9))
    assert {one.num_steps for one in news} == {8}
    assert steps[-1].tokens == 2 * int(Examples(spec.tokens).num_trained.sum())
    checkpoints = [one for one in news if one.what == "checkpoint"]
    assert [one.step for one in checkpoints] == [3, 4, 6, 8]
    assert [path.name for path in sorted((Path(spec.folder) / "checkpoints").iterdir())] == [
        "step-00000006", "step-00000008",
    ]  # fmt: skip
    assert Path(checkpoints[-1].folder, "adapter", "adapter_config.json").is_file()
    assert [one for one in read_curve(Path(spec.folder)) if one.what == "step"] == steps


@pytest.mark.parametrize("stop_after", [1, 7, 16, 23])
def test_a_run_goes_on_where_it_stopped(tmp_path: Path, llama: str, stop_after: int) -> None:
    write_tokens(tmp_path / "valid", num=5, seed=9)
    changes: dict[str, Any] = {"valid_tokens": str(tmp_path / "valid"), "checkpoint_steps": 2}
    whole, weights = train(make_spec(tmp_path, llama, **changes))
    spec = make_spec(tmp_path, llama, folder=str(tmp_path / "stopped"), **changes)
    asked = iter(range(stop_after))
    assert not Trainer(spec).train(lambda _: None, stopped=lambda: next(asked, None) is None)
    first = Trainer(spec)
    assert (first.position > 0) == (stop_after > 1)
    rest, other_weights = train(spec)
    assert rest[0].step == first.step
    assert losses(rest) == losses(whole)[first.step :]
    assert equal(other_weights, weights)
    assert read_curve(Path(spec.folder)) == read_curve(tmp_path / "run")


def test_a_run_that_is_over_stays_over(tmp_path: Path, llama: str) -> None:
    _, weights = train(make_spec(tmp_path, llama, num_epochs=1))
    again, same = train(make_spec(tmp_path, llama, num_epochs=1))
    assert [one.what for one in again] == ["loaded"]
    assert equal(weights, same)


@pytest.mark.parametrize("change", [{"rank": 3}, {"seed": 5}, {"targets": ("q_proj",)}, {"num_epochs": 9}])
def test_a_folder_holds_one_run(tmp_path: Path, llama: str, change: dict[str, Any]) -> None:
    Trainer(make_spec(tmp_path, llama))
    with pytest.raises(TuneError, match=f"another {next(iter(change))} .*Choose another folder"):
        Trainer(make_spec(tmp_path, llama, **change))


def test_other_examples_are_another_run(tmp_path: Path, llama: str) -> None:
    spec = make_spec(tmp_path, llama)
    Trainer(spec)
    write_tokens(Path(spec.tokens), seed=2)
    with pytest.raises(TuneError, match="another examples"):
        Trainer(spec)


def test_what_does_not_change_the_result_may_change(tmp_path: Path, llama: str) -> None:
    Trainer(make_spec(tmp_path, llama))
    Trainer(make_spec(tmp_path, llama, job="other", checkpoint_steps=9, device="cpu"))


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = make_spec(tmp_path, llama, checkpoint_steps=1)
    trainer, news = Trainer(spec), list[TuneNews]()
    real, calls = under_way.loss_of, iter(range(10))

    def broken(*args: Any) -> Any:
        tally, gradient = real(*args)
        tally.loss = math.nan if next(calls) == 5 else tally.loss
        return tally, gradient

    monkeypatch.setattr(under_way, "loss_of", broken)
    with pytest.raises(TuneError, match=r"the loss must be a number, got nan .* smaller learning_rate"):
        trainer.train(news.append)
    assert Trainer(spec).step == len(losses(news)) > 0


def test_weights_that_run_away_end_the_run(tmp_path: Path, llama: str) -> None:
    spec = make_spec(tmp_path, llama, learning_rate=1e30, warmup_frac=0.0, max_grad_norm=0.0)
    with pytest.raises(TuneError, match="must be a number"):
        Trainer(spec).train(lambda _: None)


def test_a_gradient_that_is_no_number_leaves_the_weights(
    tmp_path: Path, llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    down = descent.Descent([weight], 0.0, 1.0)
    down.add([torch.tensor([1.0, math.inf, 0.0])])
    with pytest.raises(TuneError, match="the gradient must be a number, got a norm of inf"):
        down.step(0.1)
    assert weight.tolist() == [1, 1, 1]


def test_a_full_disk_ends_the_run_and_breaks_nothing(
    tmp_path: Path, llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(tmp_path, llama, checkpoint_steps=1)
    whole, weights = train(make_spec(tmp_path, llama, checkpoint_steps=1, folder=str(tmp_path / "whole")))
    calls = iter(range(100))

    def full(path: Path) -> None:
        if next(calls) >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder, "_flush", full)
        with pytest.raises(TuneError, match=r"got: No space left on device. Make room"):
            Trainer(spec).train(lambda _: None)
    left = [path.name for path in (Path(spec.folder) / "checkpoints").iterdir()]
    assert sorted(left) == ["step-00000001", "step-00000002"]
    rest, other_weights = train(spec)
    assert rest[0].step == 2
    assert losses(rest) == losses(whole)[2:]
    assert equal(weights, other_weights)


def test_a_curve_that_does_not_fit_is_told(tmp_path: Path, llama: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(make_spec(tmp_path, llama))
    (tmp_path / "run" / "curve.jsonl").unlink()
    (tmp_path / "run" / "curve.jsonl").mkdir()
    with pytest.raises(TuneError, match="must take what is written there"):
        trainer.train(lambda _: None)


@pytest.mark.parametrize(
    "unit",
    [
        TuneUnit("j", 1, (0, 1), "forward"),
        TuneUnit("j", 0, (1, 2), "forward"),
        TuneUnit("j", 0, (0, 4), "forward"),
        TuneUnit("j", 0, (0, 0), "forward"),
        TuneUnit("j", 0, (0, 3), "backward"),
        TuneUnit("j", 0, (0, 3), "update"),
    ],
)
def test_units_come_in_order(tmp_path: Path, llama: str, unit: TuneUnit) -> None:
    trainer = Trainer(make_spec(tmp_path, llama))
    with pytest.raises(TuneError, match="the next unit must be forward of microbatch 0 from layer 0"):
        trainer.run(unit)


def test_nothing_is_finished_before_its_end(tmp_path: Path, llama: str) -> None:
    trainer = Trainer(make_spec(tmp_path, llama))
    with pytest.raises(TuneError, match=f"got {len(trainer.plan)} left"):
        trainer.finish()


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there must be such a folder"):
        Trainer(make_spec(tmp_path, str(tmp_path / "none")))


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens", "q_prj", "self_attn"])
def test_targets_are_linears_of_the_layers(tmp_path: Path, llama: str, target: str) -> None:
    with pytest.raises(ConfigError, match=rf"targets must be linear layers .*\(down_proj, .*got {target}"):
        Trainer(make_spec(tmp_path, llama, targets=("q_proj", target)))


def test_examples_must_be_the_models(tmp_path: Path, llama: str) -> None:
    for name, ids, wrong in (("long", [1] * 65, "context of 64 tokens, got one of 65"), ("odd", [1, VOCAB], "got 300")):
        with writing_examples(tmp_path / name) as writer:
            writer.add(ids, [1] * len(ids))
        with pytest.raises(ConfigError, match=wrong):
            Trainer(make_spec(tmp_path, llama, tokens=str(tmp_path / name)))


def test_only_some_layers_may_be_adapted(tmp_path: Path, llama: str) -> None:
    spec = make_spec(tmp_path, llama, targets=("v_proj",))
    expected, _ = plain_loop(spec)
    news, weights = play(Trainer(spec), 3)
    assert losses(news) == pytest.approx(expected, rel=1e-4)
    assert len(weights) == 6


def test_who_loads_in_a_thread_leaves_the_default_type_alone(
    tmp_path: Path, llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    news, _ = train(make_spec(tmp_path, llama, dtype="bfloat16", num_epochs=1))
    seen, real = set[torch.dtype](), torch.set_default_dtype

    def note(dtype: torch.dtype) -> None:
        seen.add(dtype)
        real(dtype)

    monkeypatch.setattr(torch, "set_default_dtype", note)
    spec = make_spec(tmp_path, llama, dtype="bfloat16", num_epochs=1, folder=str(tmp_path / "other"))
    with ThreadPoolExecutor(1) as pool:
        others, _ = pool.submit(train, spec).result()
    assert seen <= {torch.float32}
    assert losses(others) == losses(news)


def test_a_base_in_bfloat16_has_an_adapter_in_float32(tmp_path: Path, llama: str) -> None:
    news, weights = train(make_spec(tmp_path, llama, dtype="bfloat16"))
    exact, _ = train(make_spec(tmp_path, llama, folder=str(tmp_path / "exact")))
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert losses(news) == pytest.approx(losses(exact), rel=0.05)
