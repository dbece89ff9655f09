"""From tokens back to text as it streams: whole characters only, special tokens hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

CONTEXT_TOKENS = 8
HALF = "\ufffd"
"""What a decoder shows for bytes that are no whole character (yet)."""


class TokenStream(Protocol):
    """Tokens in, text out."""

    def step(self, token: int) -> str:
        """Take one token; return the text that is certain now, often one word, sometimes nothing."""


class FastStream:
    """A stream over a `tokenizers` tokenizer, which keeps the bytes of unfinished characters for itself.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Knows the vocabulary.
    context : sequence of int
        The tokens before the first one, for tokenizers that write a word's leading space only after another word.
    """

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(ids=_whole(tokenizer, context), skip_special_tokens=True)

    def step(self, token: int) -> str:
        """Take one token; return the text that is certain now."""
        try:
            return self._stream.step(self._tokenizer, token) or ""
        except OverflowError:
            return ""  # no token at all
        except Exception:  # the library's own class: what it decoded before is no longer how the text begins
            self._stream = DecodeStream(skip_special_tokens=True)
            return self._stream.step(self._tokenizer, token) or ""


class SlowStream:
    """A stream over any function that decodes a list of tokens: the text grows by what the last tokens add.

    Only the tokens since the last certain text and a few before them are decoded, so a long output costs no more per
    token than a short one.

    Parameters
    ----------
    decode : callable
        Turns tokens into text.
    context : sequence of int
        As in `FastStream`.
    """

    def __init__(self, decode: Callable[[list[int]], str], context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._tokens = list(context[-CONTEXT_TOKENS:])
        self._num_shown = len(self._tokens)

    def step(self, token: int) -> str:
        """Take one token; return the text that is certain now."""
        self._tokens.append(token)
        before = self._decode(self._tokens[: self._num_shown])
        after = self._decode(self._tokens)
        if after.endswith(HALF) or len(after) <= len(before):
            return ""
        del self._tokens[: max(0, self._num_shown - CONTEXT_TOKENS)]
        self._num_shown = len(self._tokens)
        return after[len(before) :]


def _whole(tokenizer: Tokenizer, context: Sequence[int]) -> list[int]:
    """The last tokens of a context, or none of them where they begin or end inside a character."""
    tail = list(context[-CONTEXT_TOKENS:])
    return [] if HALF in tokenizer.decode(tail, skip_special_tokens=True) else tail
