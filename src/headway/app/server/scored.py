"""Log-probabilities in the two shapes OpenAI has for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from headway.app.server.choice import Scored
from headway.app.server.tokenizer import ModelTokenizer

LEAST = -9999.0
"""What stands for the logarithm of zero, which JSON cannot write."""


class Alternative(Struct):
    """A token that might have come."""

    token: str
    logprob: float
    bytes: list[int]


class ScoredToken(Alternative):
    """A token that came, with the likeliest alternatives."""

    top_logprobs: list[Alternative]


class ChatLogprobs(Struct):
    """Log-probabilities of a chat answer."""

    content: list[ScoredToken]
    refusal: None = None


class CompletionLogprobs(Struct):
    """Log-probabilities of a plain completion."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


def chat_logprobs(tokenizer: ModelTokenizer, scored: Iterable[Scored]) -> ChatLogprobs:
    """Write scored tokens as a chat answer has them."""
    return ChatLogprobs(
        [
            ScoredToken(
                token=tokenizer.text_of(one.token),
                logprob=max(one.logprob, LEAST),
                bytes=tokenizer.bytes_of(one.token),
                top_logprobs=[
                    Alternative(tokenizer.text_of(token), max(logprob, LEAST), tokenizer.bytes_of(token))
                    for token, logprob in one.top
                ],
            )
            for one, _ in scored
        ]
    )


def completion_logprobs(tokenizer: ModelTokenizer, scored: Sequence[Scored]) -> CompletionLogprobs:
    """Write scored tokens as a plain completion has them."""
    return CompletionLogprobs(
        tokens=[tokenizer.text_of(one.token) for one, _ in scored],
        token_logprobs=[max(one.logprob, LEAST) for one, _ in scored],
        top_logprobs=[
            {tokenizer.text_of(token): max(logprob, LEAST) for token, logprob in one.top} for one, _ in scored
        ],
        text_offset=[start for _, start in scored],
    )
