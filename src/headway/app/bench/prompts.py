"""What the requests say: random but legal tokens of exact number, or plain words where a server takes text only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headway.app.bench.load import Planned

BLOCK_TOKENS = 512
"""How many tokens one prefix block of a trace stands for, as in the traces that have them."""

WORDS = (
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not",
    "he", "his", "but", "at", "are", "this", "have", "from", "or", "had", "an", "they", "which", "one", "you",
    "were", "all", "her", "she", "there", "would", "their", "we", "him", "been", "has", "when", "who", "will", "no",
    "more", "if", "out", "so", "up", "said", "what", "its", "about", "than", "into", "them", "can", "only", "other",
    "time", "new", "some", "could", "these", "two", "may", "first", "then", "do", "any", "like", "my", "now",
    "over", "such", "our", "man", "me", "even", "most", "made", "after", "also", "did", "many", "off", "before",
    "must", "well", "back", "through", "years", "much", "where", "your", "way", "down", "should", "because", "long",
    "each", "just", "state", "those", "people", "too", "good", "very", "make", "world", "still", "see", "own",
    "work", "men", "day", "get", "here", "old", "between", "life",
)  # fmt: skip
"""Common words, used to find out which tokens a server knows and to write prompts as text."""


class Prompts(Protocol):
    """Gives every planned request its prompt, the same one each time it is asked."""

    kind: str

    def of(self, planned: Planned) -> str | list[int]:
        """Return the prompt of one request."""


class TokenPrompts:
    """Prompts made of token ids, so that lengths are exact.

    Parameters
    ----------
    vocabulary : sequence of int
        Ids that the model knows and that mean nothing special, at least one.
    prefix_tokens : int
        How many tokens at the start all prompts share, >= 0.
    seed : int
        Of the dice; with the id of the request it determines the prompt.
    """

    kind = "tokens"

    def __init__(self, vocabulary: Sequence[int], prefix_tokens: int = 0, seed: int = 0) -> None:
        self.vocabulary = np.asarray(vocabulary, dtype=np.int64)
        self.prefix_tokens = prefix_tokens
        self.seed = seed

    def of(self, planned: Planned) -> list[int]:
        """Return the shared prefix, then blocks shared with other requests, then tokens of its own."""
        num = planned.input_tokens
        parts = [self._draw(min(num, self.prefix_tokens), 0, 0)] if self.prefix_tokens else []
        parts += [self._draw(BLOCK_TOKENS, 1, block) for block in planned.blocks[: num // BLOCK_TOKENS]]
        parts.append(self._draw(max(0, num - sum(map(len, parts))), 2, *planned.id.encode()))
        tokens: list[int] = np.concatenate(parts)[:num].tolist()
        return tokens

    def _draw(self, num: int, *key: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, *key])
        return self.vocabulary[rng.integers(0, len(self.vocabulary), size=num)]


class TextPrompts:
    """Prompts made of common words, about as many tokens long as asked.

    Parameters
    ----------
    tokens_per_word : float
        What the server's tokenizer makes of one word on average, > 0; 1 where it cannot be asked.
    prefix_tokens, seed : int
        As in `TokenPrompts`.
    """

    kind = "text"

    def __init__(self, tokens_per_word: float = 1.0, prefix_tokens: int = 0, seed: int = 0) -> None:
        self.tokens_per_word = tokens_per_word
        self._words = TokenPrompts(range(len(WORDS)), round(prefix_tokens / tokens_per_word), seed)

    def of(self, planned: Planned) -> str:
        """Return words; their number is rounded down, so that a prompt planned to fit the context does."""
        words = max(1, int(planned.input_tokens / self.tokens_per_word))
        share = Planned(id=planned.id, at_s=0.0, input_tokens=words, output_tokens=1)
        return " ".join(WORDS[index] for index in self._words.of(share))
