"""Answers in one piece."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from headway.app.server.choice import Delta, Scored
from headway.app.server.generation import Generation
from headway.app.server.scored import ChatLogprobs, CompletionLogprobs, chat_logprobs, completion_logprobs
from headway.app.server.tokenizer import ModelTokenizer


class PromptDetails(Struct):
    """Where prompt tokens came from."""

    cached_tokens: int


class Usage(Struct):
    """How many tokens a request took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class AnswerMessage(Struct):
    """What the assistant says."""

    content: str
    role: str = "assistant"
    refusal: None = None


class ChatChoice(Struct):
    """One output of a conversation."""

    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: ChatLogprobs | None = None


class TextChoice(Struct):
    """One output of a plain prompt."""

    index: int
    text: str
    finish_reason: str
    logprobs: CompletionLogprobs | None = None


class Answer(Struct):
    """The whole answer."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChatChoice] | list[TextChoice]
    usage: Usage
    service_tier: str
    system_fingerprint: str


def usage_of(generation: Generation) -> Usage:
    """Count the tokens of a generation."""
    prompt, output = generation.order.prompt_tokens, generation.output_tokens
    return Usage(prompt, output, prompt + output, PromptDetails(generation.cached_tokens))


async def whole_answer(generation: Generation, tokenizer: ModelTokenizer, fingerprint: str) -> bytes:
    """Wait for all outputs and return the answer as JSON."""
    order = generation.order
    deltas: list[list[Delta]] = [[] for _ in generation.choices]
    while not generation.done:
        for delta in await generation.news():
            deltas[delta.index].append(delta)
    choices = [_choice(order.chat, order.sampling[0].logprobs is not None, each, tokenizer) for each in deltas]
    answer = Answer(
        id=order.id,
        object="chat.completion" if order.chat else "text_completion",
        created=order.created,
        model=order.model,
        choices=choices,  # type: ignore[arg-type]
        usage=usage_of(generation),
        service_tier=order.promise.slo_class,
        system_fingerprint=fingerprint,
    )
    return msgspec.json.encode(answer)


def _choice(
    chat: bool, wants_scores: bool, deltas: Sequence[Delta], tokenizer: ModelTokenizer
) -> ChatChoice | TextChoice:
    text = "".join([delta.text for delta in deltas])
    index, finish = deltas[-1].index, deltas[-1].finish
    scored: list[Scored] = [one for delta in deltas for one in delta.scored]
    if chat:
        return ChatChoice(
            index, AnswerMessage(text), finish, chat_logprobs(tokenizer, scored) if wants_scores else None
        )
    return TextChoice(index, text, finish, completion_logprobs(tokenizer, scored) if wants_scores else None)
