"""What an example teaches: tokens as serving would see them, and which of them the model is to learn.

An answer is what comes between the prompt that serving would send to the model and the end of it. Both are found
by rendering: the conversation before the answer, as a prompt, and the conversation with it. Where the tokens of one are
the beginning of the tokens of the other all the way, a conversation is one lesson; a template that renders earlier
answers another way than new ones makes a lesson of each answer, with the prompt that it would get.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from headway.app.server.errors import ApiError
from headway.app.server.tokenizer import ModelTokenizer
from headway.app.tuning.example import Chat, Completion, FaultyLine

Tokens = list[int]


class Lesson(Struct, frozen=True):
    """Tokens, and which of them are to be learnt."""

    ids: Tokens
    trained: list[bool]


def lessons_of(example: Chat | Completion, tokenizer: ModelTokenizer, ends: Sequence[int]) -> Iterator[Lesson]:
    """Turn an example into what it teaches.

    Parameters
    ----------
    example : Chat or Completion
        The example.
    tokenizer : ModelTokenizer
        The model's own.
    ends : sequence of int
        Tokens that end an answer; the first of them is put where an answer has none.

    Raises
    ------
    FaultyLine
        When the model's chat template does not take it.
    """
    if isinstance(example, Completion):
        yield _completion(example, tokenizer, ends)
        return
    ids, trained = Tokens(), list[bool]()
    for index in example.taught:
        answer = _answer(example, index, tokenizer, ends)
        if ids and (len(ids) > answer.start or answer.ids[: len(ids)] != ids):
            yield Lesson(ids, trained)
            trained = []
        ids = answer.ids
        trained += [False] * (answer.start - len(trained)) + [True] * (len(ids) - answer.start)
    yield Lesson(ids, trained)


class _Answer(Struct, frozen=True):
    """A conversation up to the end of an answer, and where the answer begins."""

    ids: Tokens
    start: int


def _answer(chat: Chat, index: int, tokenizer: ModelTokenizer, ends: Sequence[int]) -> _Answer:
    if index == 0:
        raise FaultyLine("messages[0] must not be an answer to be learnt, since nothing stands before it")
    try:
        before = tokenizer.prompt_of(chat.messages[:index], add_generation_prompt=True)
        after = tokenizer.prompt_of(chat.messages[: index + 1])
    except ApiError as error:
        raise FaultyLine(f"messages must suit the model's chat template, got: {error}") from error
    prompt, whole = tokenizer.encode(before, special=False), tokenizer.encode(after, special=False)
    start = len(prompt)
    if whole[:start] != prompt:  # the template writes an answer another way than it asks for one
        words = tokenizer.encode(chat.messages[index]["content"], special=False)
        whole = prompt + words
    return _Answer(whole[:start] + _ended(whole[start:], ends), start)


def _completion(example: Completion, tokenizer: ModelTokenizer, ends: Sequence[int]) -> Lesson:
    prompt = tokenizer.encode(example.prompt)
    whole = tokenizer.encode(example.prompt + example.completion)
    fits = whole[: len(prompt)] == prompt
    words = whole[len(prompt) :] if fits else tokenizer.encode(example.completion, special=False)
    words = _ended(words, ends)
    return Lesson(prompt + words, [False] * len(prompt) + [True] * len(words))


def _ended(words: Tokens, ends: Sequence[int]) -> Tokens:
    """Cut what a template writes behind the end of an answer, or put an end where there is none."""
    last = max((place for place, token in enumerate(words) if token in ends), default=None)
    return [*words, ends[0]] if last is None else words[: last + 1]
