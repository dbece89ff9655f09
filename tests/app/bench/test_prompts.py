from __future__ import annotations

import pytest

from headway.app.bench.load import Planned
from headway.app.bench.prompts import BLOCK_TOKENS, TextPrompts, TokenPrompts


def planned(name: str, tokens: int, blocks: tuple[int, ...] = ()) -> Planned:
    return Planned(id=name, at_s=0.0, input_tokens=tokens, output_tokens=1, blocks=blocks)


@pytest.mark.parametrize("num", [1, 7, 1024])
def test_token_prompts_have_exactly_the_length_asked_for(num: int) -> None:
    prompt = TokenPrompts([5, 6, 7]).of(planned("a", num))
    assert len(prompt) == num
    assert set(prompt) <= {5, 6, 7}


def test_prompts_are_repeatable_and_differ_by_request_and_seed() -> None:
    vocabulary = range(1000)
    first = TokenPrompts(vocabulary, seed=1).of(planned("a", 50))
    assert first == TokenPrompts(vocabulary, seed=1).of(planned("a", 50))
    assert first != TokenPrompts(vocabulary, seed=1).of(planned("b", 50))
    assert first != TokenPrompts(vocabulary, seed=2).of(planned("a", 50))


def test_a_shared_prefix_is_shared() -> None:
    prompts = TokenPrompts(range(1000), prefix_tokens=20)
    a, b, short = (prompts.of(planned(*x)) for x in (("a", 50), ("b", 60), ("c", 5)))
    assert a[:20] == b[:20]
    assert a[20:] != b[20:50]
    assert short == a[:5]


def test_equal_blocks_of_a_trace_become_equal_tokens() -> None:
    prompts = TokenPrompts(range(1000))
    a = prompts.of(planned("a", 2 * BLOCK_TOKENS + 10, (1, 2, 3)))
    b = prompts.of(planned("b", 2 * BLOCK_TOKENS + 10, (1, 9, 3)))
    assert a[:BLOCK_TOKENS] == b[:BLOCK_TOKENS]
    assert a[BLOCK_TOKENS : 2 * BLOCK_TOKENS] != b[BLOCK_TOKENS : 2 * BLOCK_TOKENS]
    assert a[-10:] != b[-10:]


def test_text_prompts_never_exceed_the_planned_tokens() -> None:
    assert len(TextPrompts().of(planned("a", 30)).split()) == 30
    assert len(TextPrompts(tokens_per_word=1.6).of(planned("a", 30)).split()) == 18
    assert len(TextPrompts(tokens_per_word=3.0).of(planned("a", 1)).split()) == 1
