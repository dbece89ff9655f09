from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from headway.app.server.detokenise import FastStream, SlowStream, TokenStream
from headway.app.server.tokenizer import ModelTokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> ModelTokenizer:
    return load_tokenizer(str(model))


def streams(tokenizer: ModelTokenizer, context: list[int] | None = None) -> list[TokenStream]:
    assert tokenizer.fast is not None
    return [FastStream(tokenizer.fast, context or []), SlowStream(tokenizer.decode, context or [])]


@pytest.mark.parametrize("text", ["the cat sat", "é😀 the 語 cat\n\n👩‍👩‍👧", " leading", "a\tb  c"])
def test_streams_give_the_whole_text_in_whole_characters(tokenizer: ModelTokenizer, text: str) -> None:
    for stream in streams(tokenizer):
        pieces = [stream.step(token) for token in tokenizer.encode(text)]
        assert "".join(pieces) == text
        assert all("\ufffd" not in piece for piece in pieces)


@given(text=st.text(max_size=20))
def test_any_text_survives(tokenizer: ModelTokenizer, text: str) -> None:
    assert tokenizer.fast is not None
    stream = FastStream(tokenizer.fast)
    shown = "".join(stream.step(token) for token in tokenizer.encode(text))
    assert shown == text or (text.endswith("\ufffd") and text.startswith(shown))


@given(tokens=st.lists(st.integers(0, 600), max_size=30))
def test_any_tokens_are_harmless(tokenizer: ModelTokenizer, tokens: list[int]) -> None:
    assert tokenizer.fast is not None
    stream = FastStream(tokenizer.fast, tokens[:10])
    for token in tokens[10:]:
        assert isinstance(stream.step(token), str)


def test_special_tokens_are_hidden_and_half_characters_dropped(tokenizer: ModelTokenizer) -> None:
    smile = tokenizer.encode("😀")
    for stream in streams(tokenizer):
        assert [stream.step(token) for token in [0, *smile[:2]]] == ["", "", ""]
        assert "".join(stream.step(token) for token in smile[2:]) == "😀"


def test_a_context_that_ends_inside_a_character_is_not_shown_again(tokenizer: ModelTokenizer) -> None:
    context = tokenizer.encode("the cat 😀")[:-2]
    assert tokenizer.fast is not None
    stream = FastStream(tokenizer.fast, context)
    shown = "".join(stream.step(token) for token in tokenizer.encode(" sat"))
    assert "the" not in shown
    assert shown.endswith("sat")


def test_words_of_sentencepiece_vocabularies_keep_their_space_after_a_context() -> None:
    pieces = Tokenizer(models.WordLevel({"\u2581the": 0, "\u2581cat": 1, "?": 2}, unk_token="?"))
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    assert FastStream(pieces).step(1) == "cat"
    assert FastStream(pieces, [0]).step(1) == " cat"
    slow = SlowStream(lambda tokens: pieces.decode(tokens), [0])
    assert slow.step(1) == " cat"


def test_tokens_by_name_and_by_bytes(tokenizer: ModelTokenizer) -> None:
    tokens = tokenizer.encode(" cat 😀")
    assert [byte for token in tokens for byte in tokenizer.bytes_of(token)] == list(" cat 😀".encode())
    assert tokenizer.text_of(tokens[0]) == " cat"
    assert tokenizer.text_of(0) == "<|end|>"
