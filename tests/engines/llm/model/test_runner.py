"""A runner gives the logits that `transformers` gives, however the work is cut up."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.llm.model.driving import Track, assert_same, greedy, make_runner, own_logits, random_tokens, step
from engines.llm.model.models import RARER, SHAPES, save_model
from headway.engines.llm.model.rows import Columns, Row
from headway.engines.llm.model.runner import Runner

NAMES = [*SHAPES, *(pytest.param(name, marks=pytest.mark.slow) for name in RARER)]
FUSED = {"gemma", "llama", "llama-tied", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "phi3"}

Loaded = tuple[Any, Runner]


@pytest.fixture(scope="module", params=NAMES)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp(request.param)
    model = save_model(request.param, folder)
    runner = make_runner(folder)
    assert runner.facts.fused == (request.param in FUSED)
    return model, runner


def test_greedy_tokens_are_those_of_generate(loaded: Loaded) -> None:
    model, runner = loaded
    prompt = random_tokens(30, seed=1)
    inputs = torch.tensor([prompt])
    theirs = model.generate(
        inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=24, min_new_tokens=24, do_sample=False
    )
    # The end token is forbidden to both, so that neither stops early.
    assert greedy(runner, prompt, 24, range(7), forbidden=runner.facts.eos_ids) == theirs[0, 30:].tolist()


def test_chunks_decodes_and_shuffled_batches(loaded: Loaded) -> None:
    model, runner = loaded
    dice = random.Random(3)
    tracks = [Track(runner, random_tokens(40 + 5 * n, seed=n), range(8 * n + 2, 8 * n + 10)) for n in range(4)]
    while left := [track for track in tracks if track.computed < len(track.tokens)]:
        dice.shuffle(left)
        chosen = left[: dice.randint(1, len(left))]
        step(runner, *((t, min(dice.choice((1, 1, 3, 17)), len(t.tokens) - t.computed)) for t in chosen))
    for track in tracks:
        assert_same(track, own_logits(model, track.tokens))
        track.close()


def test_layer_ranges_beside_whole_pieces(loaded: Loaded) -> None:
    model, runner = loaded
    last = runner.facts.num_layers
    one, two, three = (Track(runner, random_tokens(33, seed=n), range(6 * n, 6 * n + 6)) for n in range(3))
    step(runner, (one, 9), (two, 5))
    step(runner, (one, 20, (0, 1)), (two, 1), (three, 12, (0, 2)))
    step(runner, (three, 12, (2, last)), (one, 20, (1, 2)), (two, 1))
    step(runner, (one, 20, (2, last)), (three, 3))
    step(runner, (two, 8, (0, last - 1)))
    step(runner, (one, 4), (two, 8, (last - 1, last)), (three, 18))
    for track in (one, two, three):
        assert_same(track, own_logits(model, track.tokens))
        track.close()


def test_a_shared_prefix_is_not_computed_again(loaded: Loaded) -> None:
    model, runner = loaded
    shared = random_tokens(24, seed=5)
    first = Track(runner, shared + random_tokens(9, seed=6), range(6))
    step(runner, (first, 33))
    first.close()
    second = Track(runner, shared + random_tokens(14, seed=7), [0, 1, 2, 9, 10])
    second.computed = 24
    step(runner, (second, 10))
    step(runner, (second, 4))
    assert_same(second, own_logits(model, second.tokens))
    second.close()


def test_recomputation_elsewhere_after_the_blocks_are_lost(loaded: Loaded) -> None:
    model, runner = loaded
    track = Track(runner, random_tokens(40, seed=8), range(6))
    step(runner, (track, 20))
    step(runner, (track, 15, (0, 1)))  # preempted in the middle of a walk through the layers
    thief = Track(runner, random_tokens(40, seed=9), range(6))
    step(runner, (thief, 40))
    track.computed = 0
    runner.set_blocks(track.slot, range(20, 26))
    step(runner, (track, 35))
    step(runner, (track, 5))
    assert_same(track, own_logits(model, track.tokens))
    assert_same(thief, own_logits(model, thief.tokens))
    track.close()
    thief.close()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("llama-again")
    model = save_model("llama", folder, seed=4)
    return model, make_runner(folder)


def test_what_a_step_does_not_sample_gives_no_logits(llama: Loaded) -> None:
    _, runner = llama
    slots = [runner.open(random_tokens(8, seed=n)) for n in range(3)]
    for n, slot in enumerate(slots):
        runner.set_blocks(slot, [n])
    assert runner.run([Row(slot, 0, 4, None, False) for slot in slots]) is None
    some = runner.run(Columns(slots, [4] * 3, [2] * 3, sample=[True, False, True]))
    every = runner.run(Columns(slots, [4] * 3, [2] * 3))
    assert some is not None
    assert every is not None
    assert some.shape == (2, 300)
    assert some.dtype == torch.float32
    torch.testing.assert_close(some, every[[0, 2]])
    for slot in slots:
        runner.close(slot)


def test_more_slots_than_first_made_room_for(llama: Loaded) -> None:
    model, runner = llama
    tracks = [Track(runner, random_tokens(10, seed=n), [2 * n, 2 * n + 1]) for n in range(7)]
    step(runner, *((track, 10) for track in tracks))
    for track in tracks:
        assert_same(track, own_logits(model, track.tokens))
        track.close()
    assert len({runner.open([1]) for _ in range(8)}) == 8


def test_tokens_that_are_appended_are_the_next_to_be_computed(llama: Loaded) -> None:
    model, runner = llama
    tokens = random_tokens(12, seed=11)
    slots = [runner.open(tokens[:9]), runner.open(tokens[:9])]
    for n, slot in enumerate(slots):
        runner.set_blocks(slot, [2 * n, 2 * n + 1])
    for token in tokens[9:]:
        runner.append(slots, [token, token])
    logits = runner.run(Columns(slots, [0, 0], [12, 12]))
    assert logits is not None
    torch.testing.assert_close(logits, own_logits(model, tokens)[-1].expand(2, -1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["qwen2", "gemma3", "mixtral", "gemma", "stablelm", "deepseek-v3"])
def test_all_kernels_give_the_same(name: str, tmp_path: Path) -> None:
    model = save_model(name, tmp_path)
    runner = make_runner(tmp_path, native=True)
    track = Track(runner, random_tokens(50, seed=2), range(8))
    for tokens in (30, 17, 1, 1, 1):
        step(runner, (track, tokens))
    assert_same(track, own_logits(model, track.tokens))


@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_bfloat16_and_int8_stay_close(name: str, tmp_path: Path) -> None:
    model = save_model(name, tmp_path)
    tokens = random_tokens(40, seed=2)
    expected = own_logits(model, tokens)[-1]
    for changes, limit in (({"dtype": "bfloat16"}, 0.2), ({"quantize": "int8"}, 0.2)):
        runner = make_runner(tmp_path, **changes)
        track = Track(runner, tokens, range(8))
        step(runner, (track, 40))
        assert float((track.logits[39] - expected).norm() / expected.norm()) < limit
