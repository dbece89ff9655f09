"""Structured output: JSON schemas become matchers that say which tokens may come next (with `llguidance`)."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.errors import ConfigError
from headway.engines.llm.sampling.recipe import Matcher

ANY_OBJECT = '{"type": "object"}'
LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line with single spaces: where any white space may follow, a weak model can write it until its end."""
KEPT = 64
"""So many compiled schemas are kept, the most recently used."""


class JsonMatcher:
    """Follows one compiled grammar token by token.

    Parameters
    ----------
    matcher : llguidance.LLMatcher
        In its first state; used up here.
    vocab_size : int
        Width of the logits.
    """

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    def allowed(self) -> npt.NDArray[np.bool_]:
        """Return which tokens may come next, bool `[vocab]`."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)

    def accept(self, token: int) -> None:
        """Note the token that came."""
        self._matcher.consume_token(token)

    @property
    def finished(self) -> bool:
        """Whether the output is complete and nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def error(self) -> str:
        """Why the grammar cannot be followed any further; empty while it can."""
        return str(self._matcher.get_error()) if self._matcher.is_error() else ""


class Grammars:
    """Compiles JSON schemas in a thread of its own, and keeps what it compiled.

    Parameters
    ----------
    model : str
        The folder or hub id whose tokenizer is used; it is loaded when the first schema comes.
    vocab_size : int
        Width of the logits, >= 1.
    eos_ids : sequence of int
        Tokens that end an output.
    """

    def __init__(self, model: str, vocab_size: int, eos_ids: Sequence[int]) -> None:
        self.model = model
        self.vocab_size = vocab_size
        self.eos_ids = list(eos_ids)
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._tokenizer: Any = None
        self._thread: ThreadPoolExecutor | None = None

    def compile(self, schema: str, bell: Callable[[], None] = lambda: None) -> Future[Matcher]:
        """Begin to compile a schema.

        Parameters
        ----------
        schema : str
            A JSON schema as JSON text; ``{"type": "json_object"}`` stands for any object.
        bell : callable
            Called, in another thread, when it is done.

        Returns
        -------
        Future
            A fresh matcher, or `ConfigError` with the reason when the schema cannot be used.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")
        future = self._thread.submit(self._matcher, schema)
        future.add_done_callback(lambda _: bell())
        return future

    def close(self) -> None:
        """End the thread; what is being compiled is finished first."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _matcher(self, schema: str) -> Matcher:
        if schema not in self._kept:
            self._kept[schema] = self._compiled(schema)
        self._kept.move_to_end(schema)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return JsonMatcher(self._kept[schema].deep_copy(), self.vocab_size)

    def _compiled(self, schema: str) -> Any:
        from llguidance import LLMatcher

        if self._tokenizer is None:
            self._tokenizer = self._load_tokenizer()
        try:
            grammar = LLMatcher.grammar_from_json_schema(_unabridged(schema), defaults=LAYOUT)
        except ValueError as error:
            raise ConfigError(f"response_format: the JSON schema must be usable ({error}).") from error
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ConfigError(f"response_format: the JSON schema must be usable ({matcher.get_error()}).")
        return matcher

    def _load_tokenizer(self) -> Any:
        from llguidance.hf import from_tokenizer
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model)
            width = max(self.vocab_size, len(tokenizer))
            return from_tokenizer(tokenizer, n_vocab=width, eos_token=self.eos_ids or None)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"response_format: needs a fast tokenizer with the model ({_first_line(error)})."
            ) from error


def _unabridged(schema: str) -> str:
    try:
        parsed = json.loads(schema)
    except ValueError as error:
        raise ConfigError(f"response_format: the JSON schema must be JSON ({error}).") from error
    return ANY_OBJECT if parsed == {"type": "json_object"} else schema


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
