"""Several runs at once leave behind what each would leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engines.tuning.making import make_spec, plain_loop, save_model, write_tokens
from headway.core.errors import ConfigError, TuneError
from headway.engines.tuning.curve import read_curve
from headway.engines.tuning.lorafusion_runs import JointTraining
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.trainer import Trainer
from headway.policies.tuning.one_by_one import OneByOne


def make_specs(at: Path, model: str, num: int = 3, **changes: Any) -> list[TuneSpec]:
    specs = []
    for nth in range(num):
        path = at / f"{nth}"
        path.mkdir(parents=True, exist_ok=True)
        write_tokens(path / "tokens.safetensors", num=7 + 3 * nth, seed=nth)
        given = {"job": f"j{nth}", "seed": nth, "rank": 2 + 2 * nth, "batch_size": 3 + nth, "microbatch_tokens": 60}
        specs.append(make_spec(path, model, **given | changes))
    return specs


def train(specs: list[TuneSpec], **options: Any) -> dict[str, list[TuneNews]]:
    news: dict[str, list[TuneNews]] = {spec.job: [] for spec in specs}
    joint = JointTraining(specs, **options)
    assert joint.train(lambda spec, one: news[spec.job].append(one))
    joint.finish()
    return news


def losses(news: list[TuneNews]) -> list[float]:
    return [one.loss for one in news if one.loss is not None]


def valid_losses(news: list[TuneNews]) -> list[float]:
    return [one.valid_loss for one in news if one.valid_loss is not None]


def adapter(spec: TuneSpec) -> dict[str, torch.Tensor]:
    return load_file(Path(spec.folder) / "adapter" / "adapter_model.safetensors")


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert set(ours) == set(theirs)
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "GPTNeoX", "GPT2", "OPT"])
def test_losses_and_weights_are_those_of_a_plain_loop_over_each(kind: str, tmp_path: Path) -> None:
    targets = {"OPT": ("q_proj", "fc1")}.get(kind, ())
    specs = make_specs(tmp_path, save_model(kind, tmp_path / "model"), num=2, learning_rate=1e-3, targets=targets)
    news = train(specs)
    for spec in specs:
        expected, weights = plain_loop(spec)
        assert losses(news[spec.job]) == pytest.approx(expected, rel=1e-4)
        assert_same(adapter(spec), weights)


def test_a_run_begun_here_is_ended_by_a_trainer_and_the_other_way_round(tmp_path: Path, llama: str) -> None:
    def specs_at(name: str) -> list[TuneSpec]:
        found = make_specs(tmp_path / name, llama, checkpoint_steps=1)
        valid = str(write_tokens(tmp_path / "valid.safetensors", num=5, seed=9))
        return [TuneSpec(**{field: getattr(spec, field) for field in spec.__struct_fields__} | {"valid_tokens": valid})
                for spec in found]  # fmt: skip

    whole, here_first, there_first = (specs_at(name) for name in ("whole", "here", "there"))
    expected = train(whole)
    told: list[TuneNews] = []
    begun = JointTraining(here_first)
    assert not begun.train(lambda _, news: told.append(news), stopped=lambda: sum(n.what == "step" for n in told) > 3)
    with pytest.raises(TuneError, match="must be through before the end"):
        begun.finish()
    for spec in here_first:
        trainer = Trainer(spec)
        assert trainer.train(lambda _: None)
        trainer.finish()
    for spec in there_first:
        some: list[TuneNews] = []
        Trainer(spec).train(some.append, stopped=lambda some=some: any(n.what == "step" for n in some))
    train(there_first)
    for nth, spec in enumerate(whole):
        for other in (here_first[nth], there_first[nth]):
            assert_same(adapter(other), adapter(spec))
            curve, wanted = read_curve(Path(other.folder)), read_curve(Path(spec.folder))
            assert [(one.what, one.step, one.tokens) for one in curve] == [
                (one.what, one.step, one.tokens) for one in wanted
            ]
            assert losses(curve) == pytest.approx(losses(expected[spec.job]), rel=1e-4)
            assert valid_losses(curve) == pytest.approx(valid_losses(wanted), rel=1e-4)
            assert len(valid_losses(curve)) == spec.num_epochs


def test_any_policy_of_the_pipeline_trains_the_same(tmp_path: Path, llama: str) -> None:
    one, other = make_specs(tmp_path / "a", llama), make_specs(tmp_path / "b", llama)
    train(one)
    train(other, policy=OneByOne(), capacity_tokens=30)
    for spec, same in zip(one, other, strict=True):
        assert_same(adapter(spec), adapter(same))


def test_a_half_precision_base_trains_adapters_in_full_precision(tmp_path: Path, llama: str) -> None:
    specs = make_specs(tmp_path, llama, num=2, dtype="bfloat16")
    news = train(specs)
    assert all(weight.dtype == torch.float32 for weight in adapter(specs[0]).values())
    first = [Trainer(spec) for spec in make_specs(tmp_path / "alone", llama, num=2, dtype="bfloat16")]
    alone: list[TuneNews] = []
    first[0].train(alone.append)
    assert losses(news["j0"]) == pytest.approx(losses(alone), rel=0.05)


def test_who_cannot_be_trained_at_once_is_told_why(tmp_path: Path, llama: str) -> None:
    specs = make_specs(tmp_path, llama, num=2)
    with pytest.raises(ConfigError, match="a folder of their own"):
        JointTraining([specs[0], make_spec(tmp_path / "0", llama, job="other")])
    with pytest.raises(ConfigError, match="must have one dtype, got bfloat16, float32"):
        JointTraining([specs[0], make_spec(tmp_path / "1", llama, job="other", dtype="bfloat16")])
    with pytest.raises(ConfigError, match="must have one model, got no run"):
        JointTraining([])


def test_a_model_that_caps_its_scores_cannot_be_shared(tmp_path: Path) -> None:
    specs = make_specs(tmp_path, save_model("Gemma2", tmp_path / "model"), num=2)
    with pytest.raises(ConfigError, match="must attend plainly to be shared, got capped scores"):
        train(specs)
