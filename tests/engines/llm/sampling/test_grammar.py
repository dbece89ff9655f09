"""Structured output through the grammar library, with a tokenizer made on the fly."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engines.llm.loop.fakes import Bench, FakeFacts, FakeLine, FakeRunner
from headway.core.errors import ConfigError
from headway.engines.llm.messages import Cancel, Drain, Sampling, Submit
from headway.engines.llm.sampling.compiling import Compiling
from headway.engines.llm.sampling.grammar import Grammars, JsonMatcher
from headway.engines.llm.sampling.recipe import Recipe
from headway.engines.llm.sampling.sample import sample
from headway.policies.serving.orca import Orca
from headway.policies.serving.stack import Stack

PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"name": {"enum": ["Ada", "Bob"]}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<eos>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(['{"name": "Ada", "age": 36}'] * 5, trainer)
    path = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def grammars(folder: Path, tokenizer: Any) -> Any:
    made = Grammars(str(folder), len(tokenizer) + 5, [0])
    yield made
    made.close()


def follow(matcher: JsonMatcher, seed: int, num_tokens: int = 400) -> list[int]:
    """Walk at random through what a grammar allows."""
    dice, out = random.Random(seed), []
    while not matcher.finished and len(out) < num_tokens:
        out.append(int(dice.choice(np.flatnonzero(matcher.allowed()))))
        matcher.accept(out[-1])
        assert not matcher.error
    return out


def test_whatever_is_allowed_satisfies_the_schema(grammars: Grammars, tokenizer: Any) -> None:
    texts = set()
    for seed in range(8):
        matcher = grammars.compile(PERSON).result()
        assert isinstance(matcher, JsonMatcher)
        tokens = follow(matcher, seed)
        assert matcher.finished
        texts.add(tokenizer.decode(tokens, skip_special_tokens=True))
    for text in texts:
        person = json.loads(text)
        assert set(person) == {"name", "age"}
        assert person["name"] in ("Ada", "Bob")
        assert 0 <= person["age"] <= 120
    assert len(texts) > 1


def test_sampling_follows_the_grammar_against_the_model(grammars: Grammars, tokenizer: Any) -> None:
    width = len(tokenizer) + 5
    asked = Sampling(temperature=0.7, grammar=PERSON)
    recipe = Recipe(asked, [], (), 3, grammars.compile(PERSON).result())
    noise = torch.Generator().manual_seed(1)
    tokens: list[int] = []
    while not recipe.ended:
        tokens += sample(torch.randn(1, width, generator=noise) * 5, [recipe])[0]
    assert recipe.ended == "stop"
    assert set(json.loads(tokenizer.decode(tokens, skip_special_tokens=True))) == {"name", "age"}


def test_a_json_object_is_any_object(grammars: Grammars) -> None:
    matcher = grammars.compile('{"type": "json_object"}').result()
    first = set(np.flatnonzero(matcher.allowed()).tolist())
    again = set(np.flatnonzero(grammars.compile('{"type": "object"}').result().allowed()).tolist())
    assert first == again
    assert first


@pytest.mark.parametrize("schema", ['{"type": "nonsense"}', '{"type": "object"', "[1]", '{"$ref": "#/nowhere"}'])
def test_an_invalid_schema_is_one_clear_error(grammars: Grammars, schema: str) -> None:
    with pytest.raises(ConfigError, match="response_format: the JSON schema must be"):
        grammars.compile(schema).result()


def test_a_model_without_tokenizer_cannot_follow_grammars(tmp_path: Path) -> None:
    grammars = Grammars(str(tmp_path), 10, [0])
    with pytest.raises(ConfigError, match="tokenizer"):
        grammars.compile(PERSON).result()
    grammars.close()


def test_in_the_engine_good_schemas_are_followed_and_bad_ones_rejected(
    grammars: Grammars, folder: Path, tokenizer: Any
) -> None:
    class Babble(FakeRunner):
        """Random logits over the tokenizer's vocabulary."""

        def _logits(self, slot: int, length: int) -> torch.Tensor:
            return torch.randn(grammars.vocab_size, generator=torch.Generator().manual_seed(length)) * 4

    def ask(name: str, schema: str) -> Submit:
        return Submit(id=name, prompt=[5, 6], sampling=Sampling(max_tokens=200, grammar=schema, seed=1))

    async def go() -> tuple[Bench, FakeLine]:
        line = FakeLine()
        facts = FakeFacts(context_tokens=400, vocab_size=grammars.vocab_size, eos_ids=(0,))
        bench = Bench(Babble(128, facts=facts), line, facts, 128, 4, compiling=Compiling(grammars))
        line.give(ask("good", PERSON), ask("bad", '{"type": "nonsense"}'), ask("gone", PERSON), Cancel(id="gone"))
        serving = asyncio.ensure_future(bench.serve(Stack(batch=Orca())))
        while not {"good", "bad", "gone"} <= {n for n, items in line.outputs().items() if items[-1].finish}:
            await asyncio.sleep(0.001)
        line.give(Drain())
        await serving
        return bench, line

    bench, line = asyncio.run(asyncio.wait_for(go(), 30))
    tokens, finish = line.told("good")
    assert finish == "stop"
    assert set(json.loads(tokenizer.decode(tokens, skip_special_tokens=True))) == {"name", "age"}
    assert line.outputs()["bad"][0].finish == "rejected"
    assert "nonsense" in line.outputs()["bad"][0].why
    assert line.told("gone") == ([], "cancelled")
    bench.check_empty()
