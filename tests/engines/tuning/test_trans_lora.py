"""Adapters are really moved: texts, judgements, answers and a new adapter that other doors can open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax

from engines.llm.model.driving import Track, assert_same, make_runner, own_logits, step
from headway.core.drivers import serve, simulate
from headway.core.errors import ConfigError, TuneError
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.engines.tuning.trans_lora import TransferEngine, transfer
from headway.engines.tuning.trans_lora_fit import Fit, Row, with_probabilities
from headway.engines.tuning.trans_lora_judge import invent, judge, train_discriminator
from headway.engines.tuning.trans_lora_speaker import Speaker
from headway.engines.tuning.trans_lora_spec import Lesson, TransferSpec, Wording
from headway.engines.tuning.trans_lora_toys import BASES, OPERATIONS, Family, Task, noisy_lines, operate, random_text
from headway.policies.tuning.trans_lora import TransLora
from headway.policies.tuning.trans_lora_nouns import Run, Transfer
from headway.sim.tuning.trans_lora import TransferWorld, TrueTransfer
from headway.sim.tuning.trans_lora_prices import Affine, StagePrice

WORDING = Wording(task="{text}=", question="{text}?", yes="y", no="n")
QUICK = Lesson(num_epochs=2, learning_rate=6e-3)
TASK = Task(0)
REAL = TASK.family.lines(np.random.default_rng(0), 60)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    num = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source adapter and its discriminator, hardly trained."""
    out, small = tmp_path_factory.mktemp("old"), Speaker(str(BASES / "small"), "cpu")
    small.grow("source", QUICK, 0)
    rows = [Row(small.prompt(f"{text}="), small.answer(TASK.answer(text))) for text in REAL]
    Fit(small, "source", rows, QUICK, 0).run(2)
    small.save("source", str(out / "source"))
    small.drop("source")
    train_discriminator(small, "toy", REAL, REAL[:5], str(out / "judge"), lesson=QUICK, wording=WORDING, text_tokens=8)
    return out


def spec_of(old: Path, out: Path, **changes: object) -> TransferSpec:
    settings: dict[str, object] = {
        "name": "toy",
        "source": str(BASES / "small"),
        "target": str(BASES / "large"),
        "adapter": str(old / "source"),
        "discriminator": str(old / "judge"),
        "seeds": tuple(REAL[:5]),
        "folder": str(out / "new"),
        "wanted": 12,
        "text_tokens": 8,
        "answer_tokens": 8,
        "lesson": QUICK,
        "wording": WORDING,
    }
    return TransferSpec(**(settings | changes))  # type: ignore[arg-type]


def test_an_adapter_is_moved_and_can_be_taken_on_again(folder: Path, tmp_path: Path) -> None:
    moved = transfer([spec_of(folder, tmp_path)])["toy"]
    assert moved.folder == tmp_path / "new"
    assert len(moved.texts) == len(moved.answers) == 12
    assert len(moved.losses) == 2 * 2  # 12 texts are 2 steps of 8 and fewer, for 2 epochs
    assert 0 < moved.accept_frac <= 1
    settings = json.loads((tmp_path / "new" / "adapter_config.json").read_text())
    assert settings["peft_type"] == "LORA"
    assert settings["base_model_name_or_path"] == str(BASES / "large")
    large = Speaker(str(BASES / "large"), "cpu")
    prompts = [large.prompt("3acf=")]
    before = large.last_logits(prompts)
    large.graft("new", str(tmp_path / "new"))
    with large.using("new"):
        assert not torch.allclose(before, large.last_logits(prompts))
    with large.using(""):
        assert torch.allclose(before, large.last_logits(prompts), atol=1e-5)


def test_a_moved_adapter_is_served_like_any_other(folder: Path, tmp_path: Path) -> None:
    moved = transfer([spec_of(folder, tmp_path)])["toy"]
    runner = make_runner(BASES / "large", adapters={"new": str(moved.folder)})
    large = Speaker(str(BASES / "large"), "cpu")
    large.graft("new", str(moved.folder))
    track = Track(runner, large.prompt("3acf=fca"), range(4), "new")
    step(runner, (track, len(track.tokens)))
    with large.using("new"):
        assert_same(track, own_logits(large.model, track.tokens))


def test_one_seed_one_result(folder: Path, tmp_path: Path) -> None:
    first, again = (transfer([spec_of(folder, tmp_path, folder=str(tmp_path / one))])["toy"] for one in "ab")
    assert first.texts == again.texts
    assert first.losses == again.losses


def test_only_texts_that_the_discriminator_holds_for_real_are_answered(folder: Path, tmp_path: Path) -> None:
    moved = transfer([spec_of(folder, tmp_path)])["toy"]
    small = Speaker(str(BASES / "small"), "cpu")
    small.graft("judge", str(folder / "judge"))
    assert all(judge(small, "judge", "toy", moved.texts, WORDING))
    small.graft("source", str(folder / "source"))
    with small.using("source"):
        assert small.write([small.prompt(f"{text}=") for text in moved.texts], 8) == moved.answers


def test_another_tokenizer_gets_the_answers_as_text(folder: Path, tmp_path: Path) -> None:
    moved = transfer([spec_of(folder, tmp_path, target=str(BASES / "other"))])["toy"]
    assert moved.folder is not None
    with pytest.raises(ConfigError, match="one vocabulary, got two"):
        transfer([spec_of(folder, tmp_path, target=str(BASES / "other"), labels="logits")])


def test_probabilities_are_learnt_from_as_words_are(folder: Path, tmp_path: Path) -> None:
    assert len(transfer([spec_of(folder, tmp_path, labels="logits")])["toy"].losses) == 4


def test_a_grammar_stands_in_for_a_model_that_cannot_go_on(folder: Path, tmp_path: Path) -> None:
    moved = transfer([spec_of(folder, tmp_path, grammar=True)])["toy"]
    assert moved.folder is not None
    assert all(text[0].isdigit() for text in moved.texts)


def test_a_transfer_whose_texts_are_all_turned_away_says_why(folder: Path, tmp_path: Path) -> None:
    never = Wording(task="{text}=", question="{text}?", yes="R", no="y")  # nothing is answered with R
    engine = TransferEngine([spec_of(folder, tmp_path, wanted=4, wording=never)])
    asyncio.run(serve(engine, TransLora(pilot=4, max_tries=2)))
    moved = engine.moved["toy"]
    assert moved.folder is None
    assert "kept 0 of 8 texts" in moved.why
    assert not (tmp_path / "new").exists()


def test_the_world_takes_the_same_decisions_as_the_engine(folder: Path, tmp_path: Path) -> None:
    spec = spec_of(folder, tmp_path, discriminator="")
    engine, policy = TransferEngine([spec]), TransLora()
    live = MemoryTrace(10_000)
    asyncio.run(serve(engine, policy, session=Session(policy, engine.view, trace=live)))
    kept = engine.moved["toy"].accept_frac
    assert kept == 1.0  # without a discriminator, so that the world knows what will be kept
    work = Transfer(id="toy", arrival_s=0.0, source=spec.source, target=spec.target, wanted=12, num_epochs=2)
    costs = {(stage, base): Affine(1.0, 0.1) for stage, base in _stages(spec)}
    world = TransferWorld(
        [TrueTransfer(transfer=work, accept_frac=1.0)],
        list(engine.view.resources.values()),
        list(engine._board.bases.values()),
        StagePrice(costs=costs),
    )
    virtual = MemoryTrace(10_000)
    session = Session(policy, world.view, trace=virtual)
    simulate(world, policy, session=session)
    assert live.actions == virtual.actions
    assert {action.stage for action in live.actions if isinstance(action, Run)} == {
        "generate", "filter", "label", "train",
    }  # fmt: skip


def _stages(spec: TransferSpec) -> list[tuple[object, str]]:
    return [(stage, base) for stage in ("generate", "filter", "label", "train") for base in (spec.source, spec.target)]


def test_several_transfers_at_once_do_not_mix(folder: Path, tmp_path: Path) -> None:
    specs = [
        spec_of(folder, tmp_path, name=name, folder=str(tmp_path / name), seed=nth) for nth, name in enumerate("ab")
    ]
    both = transfer(specs)
    alone = transfer(specs[:1])["a"]
    assert both["a"].texts == alone.texts
    assert both["a"].losses == pytest.approx(alone.losses, rel=1e-4)
    assert both["b"].texts != alone.texts


def test_the_loss_is_the_mean_over_answer_tokens(folder: Path) -> None:
    small = Speaker(str(BASES / "small"), "cpu")
    rows = [Row(small.prompt("3acf="), small.answer("fca")), Row(small.prompt("7bdbde="), small.answer("bdbde"))]
    small.grow("new", QUICK, 0)
    fit = Fit(small, "new", rows, QUICK, 0)
    total = 0.0
    for row in rows:
        total += float(cross_entropy(_answer_logits(small, row), torch.tensor(row.answer), reduction="sum"))
    assert fit._loss(rows).item() == pytest.approx(total / (4 + 6), rel=1e-5)
    taught = with_probabilities(small, rows[0])
    assert taught.probs is not None
    assert torch.allclose(taught.probs.sum(-1), torch.ones(4))
    soft = -(log_softmax(_answer_logits(small, rows[0]), -1) * torch.softmax(_answer_logits(small, rows[0]), -1)).sum(
        -1
    )
    assert fit._loss([taught]).item() == pytest.approx(soft.mean().item(), rel=1e-4)


def _answer_logits(speaker: Speaker, row: Row) -> torch.Tensor:
    found: torch.Tensor = speaker.model(input_ids=torch.tensor([row.prompt + row.answer])).logits
    return found[0, len(row.prompt) - 1 : -1].detach()


def test_a_loss_that_is_no_number_is_one_clear_error() -> None:
    small = Speaker(str(BASES / "small"), "cpu")
    small.grow("new", QUICK, 0)
    fit = Fit(small, "new", [Row(small.prompt("3acf="), small.answer("fca"))], QUICK, 0)
    with torch.no_grad():
        for one in small.model.parameters():
            one.fill_(float("nan"))
    with pytest.raises(TuneError, match="the loss must be a number"):
        fit.run(1)


def test_batches_write_what_single_prompts_do() -> None:
    large = Speaker(str(BASES / "large"), "cpu")
    prompts = [large.prompt(text) for text in ("Racf=", "Sbdbde=", "Cabab=")]
    assert large.write(prompts, 8) == [large.write([prompt], 8)[0] for prompt in prompts] == ["fca", "bbdde", "abab"]


def test_the_large_base_can_do_what_tasks_are_made_of_and_goes_on_with_lists() -> None:
    large, rng = Speaker(str(BASES / "large"), "cpu"), np.random.default_rng(0)
    words = [("".join(rng.choice(list("abcdefghijkl"), 4)), str(rng.choice(list(OPERATIONS)))) for _ in range(50)]
    answers = large.write([large.prompt(f"{name}{letters}=") for letters, name in words], 8)
    right = [operate(name, letters) == answer for (letters, name), answer in zip(words, answers, strict=True)]
    assert np.mean(right) > 0.9
    family = Family(rng)
    texts = invent(large, family.lines(rng, 5), 100, WORDING, 8, 1.0, 0)
    assert np.mean([family.has(text) for text in texts]) > 0.15
    assert np.mean([family.has(text) for text in random_text(rng, 100)]) < 0.1


def test_a_noisy_grammar_has_the_signs_of_its_seeds_and_some_others() -> None:
    family, rng = Family(np.random.default_rng(1)), np.random.default_rng(2)
    clean = noisy_lines(family.lines(rng, 5), 200, rng, noise_frac=0.0)
    noisy = noisy_lines(family.lines(rng, 5), 200, rng, noise_frac=0.3)
    assert all(family.has(line) for line in clean)
    assert 0.02 < np.mean([family.has(line) for line in noisy]) < 0.6


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"wanted": 0}, "wanted must be > 0"),
        ({"seeds": ()}, "seeds must be texts"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, object], why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        spec_of(tmp_path, tmp_path, **changes)


def test_what_cannot_be_loaded_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there must be such a folder"):
        Speaker(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="must be a LoRA of"):
        Speaker(str(BASES / "large"), "cpu").graft("x", str(folder / "source"))
    with pytest.raises(ConfigError, match="must begin with different tokens"):
        train_discriminator(
            Speaker(str(BASES / "small"), "cpu"), "x", REAL, REAL[:5], str(tmp_path), wording=Wording(no="y", yes="y")
        )
    with pytest.raises(ConfigError, match="names must differ"):
        TransferEngine([spec_of(folder, tmp_path)] * 2)
