"""The shipped model: its folder is complete, it loads, and its answers read like language."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# The folder is found without importing the engine, which is heavy and not needed here.
_SPEC = importlib.util.find_spec("headway")
FOLDER = Path((_SPEC.submodule_search_locations or [""])[0] if _SPEC else "") / "engines/llm/shipped/headway-mini"
# Common words of the corpus; a greeting that is language uses several of them.
WORDS = {
    "hello",
    "hi",
    "i",
    "am",
    "you",
    "can",
    "how",
    "what",
    "help",
    "today",
    "a",
    "to",
    "about",
    "is",
    "it",
    "like",
    "would",
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()


def _ids(tokenizer: Any, *messages: tuple[str, str]) -> torch.Tensor:
    chat = [{"role": role, "content": content} for role, content in messages]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    return torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])


def _answer(model: Any, tokenizer: Any, *messages: tuple[str, str], max_tokens: int = 200) -> tuple[str, bool]:
    """Return the greedy answer, and whether it ended by itself."""
    ids = _ids(tokenizer, *messages)
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False)[
            0, ids.shape[1] :
        ]
    return tokenizer.decode(out, skip_special_tokens=True), out[-1].item() == tokenizer.eos_token_id


def test_folder_is_complete_and_small() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    }
    num_bytes = sum(path.stat().st_size for path in FOLDER.glob("*.safetensors"))
    assert 2e6 <= num_bytes <= 8e6


def test_card_names_licence_and_limits() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card
    for heading in ("## Data", "## Limits", "## Sample answers"):
        assert heading in card


def test_config_is_a_llama_in_bfloat16() -> None:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "bfloat16"
    assert config["max_position_embeddings"] == 2048


@pytest.mark.parametrize(
    "text",
    ["hello", " two  spaces\n\tand tabs ", "Grüße, 你好, 🙂 שלום", "\x00\x7f", "x" * 300, "def f(x): return x**2"],
)
def test_any_text_round_trips(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_chat_template_marks_roles_and_opens_the_answer(tokenizer: Any) -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert text == "<|system|>Be brief.<|end|><|user|>hi<|end|><|assistant|>"
    for mark in ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"):
        assert len(tokenizer(mark, add_special_tokens=False)["input_ids"]) == 1
    assert tokenizer.eos_token == "<|end|>"


def test_chat_template_refuses_an_unknown_role(tokenizer: Any) -> None:
    with pytest.raises(Exception, match="roles must be"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_greeting_is_language_and_ends_by_itself(model: Any, tokenizer: Any) -> None:
    answer, ended = _answer(model, tokenizer, ("user", "hello"))
    words = {word.strip(".,!?").lower() for word in answer.split()}
    assert ended
    assert len(words & WORDS) >= 3, answer


def test_knows_its_own_subject(model: Any, tokenizer: Any) -> None:
    answer, ended = _answer(model, tokenizer, ("user", "What is TTFT?"))
    assert ended
    assert "first" in answer, answer


def test_follow_up_turns_see_the_talk(model: Any, tokenizer: Any) -> None:
    answer, ended = _answer(
        model,
        tokenizer,
        ("user", "my name is Clara"),
        ("assistant", "Nice to meet you, Clara!"),
        ("user", "what is my name?"),
    )
    assert ended
    assert "Clara" in answer


def test_a_long_context_stays_finite(model: Any, tokenizer: Any) -> None:
    turns = [
        ("user", "what is a batch?"),
        ("assistant", "A batch is a group of requests that go through the model together."),
    ] * 80
    ids = _ids(tokenizer, *turns, ("user", "hello"))[:, -1500:]
    assert ids.shape[1] == 1500
    with torch.no_grad():
        logits = model(ids).logits
    assert torch.isfinite(logits).all()
