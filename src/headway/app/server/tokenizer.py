"""The model's tokenizer in the API process: prompts to tokens, conversations to prompts, tokens to text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tokenizers
from jinja2 import TemplateError

from headway.app.server.detokenise import FastStream, SlowStream, TokenStream
from headway.app.server.errors import invalid
from headway.core.errors import ConfigError

INLINE_CHARS = 2000
"""Text up to this length is tokenised in the event loop: it takes less time than asking a thread."""

NUM_THREADS = 2


class ModelTokenizer:
    """What the server needs of a `transformers` tokenizer.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        The model's own.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self.fast: tokenizers.Tokenizer | None = backend if isinstance(backend, tokenizers.Tokenizer) else None
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="tokenise")

    @property
    def can_chat(self) -> bool:
        """Whether there is a chat template."""
        return bool(self._tokenizer.chat_template)

    @property
    def end_token(self) -> int | None:
        """The token that ends a text, if there is one."""
        token: int | None = self._tokenizer.eos_token_id
        return token

    async def tokens_of(self, text: str, special: bool = True) -> list[int]:
        """Turn text into tokens, off the event loop when it is long.

        Parameters
        ----------
        text : str
            The text.
        special : bool
            Whether the tokenizer adds its own special tokens, as at the beginning of a prompt.
        """
        if len(text) <= INLINE_CHARS:
            return self.encode(text, special)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.encode, text, special)

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Turn text into tokens, here and now."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=special, verbose=False)
        return tokens

    def decode(self, tokens: Sequence[int], hide_special: bool = True) -> str:
        """Turn tokens into text."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=hide_special)
        return text

    def prompt_of(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Write a conversation as a prompt with the model's chat template.

        Raises
        ------
        ApiError
            400 when there is no template, or it refuses the conversation.
        """
        if not self.can_chat:
            raise invalid("This model has no chat template. Use /v1/completions.", "messages", "no_chat_template")
        try:
            text: str = self._tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise invalid(f"The model's chat template refuses these messages: {error}.", "messages") from error
        return text

    def stream(self, context: Sequence[int] = ()) -> TokenStream:
        """Begin to turn the tokens of one output into text; `context` are the tokens that it continues."""
        if self.fast is not None:
            return FastStream(self.fast, context)
        return SlowStream(self.decode, context)

    def text_of(self, token: int) -> str:
        """How one token reads on its own, leading space included; special tokens by name."""
        piece = self._tokenizer.convert_ids_to_tokens(token)
        if isinstance(piece, str) and piece.startswith("\u2581"):  # the space of sentencepiece vocabularies
            return piece.replace("\u2581", " ")
        return self.decode([token], hide_special=False)

    def bytes_of(self, token: int) -> list[int]:
        """The bytes one token stands for, also where they are no whole character."""
        piece = self._tokenizer.convert_ids_to_tokens(token)
        text = self.text_of(token)
        if "\ufffd" in text and isinstance(piece, str):
            found = [_BYTE_OF[char] for char in piece if char in _BYTE_OF]
            if len(found) == len(piece):
                return found
        if isinstance(piece, str) and piece.startswith("<0x") and len(piece) == 6:
            return [int(piece[3:5], 16)]
        return list(text.encode())


def load_tokenizer(model: str) -> ModelTokenizer:
    """Load the tokenizer of a model folder or hub id.

    Raises
    ------
    ConfigError
        When there is none that `transformers` can load.
    """
    from transformers import AutoTokenizer  # imported late: it takes seconds

    if model.startswith(("/", ".", "~")) and not Path(model).is_dir():
        raise ConfigError(f"server: model must be a folder or a hub id, got {model!r}, which is no folder here.")
    if Path(model).is_dir() and not any(Path(model).glob("*token*")):
        raise ConfigError(f"server: the model folder must hold a tokenizer, got none in {model}.")
    try:
        return ModelTokenizer(AutoTokenizer.from_pretrained(model))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(f"server: the tokenizer of {model!r} must load with transformers, got: {error}.") from error


def _byte_alphabet() -> dict[str, int]:
    """The stand-ins for bytes in byte-level vocabularies: printable Latin-1 stands for itself, the rest follows."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(rest)}


_BYTE_OF = _byte_alphabet()
