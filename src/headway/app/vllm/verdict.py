"""Reading the beginning of an answer of vLLM: does it hold output, or was the request turned away?"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from headway.app.server.errors import ApiError, invalid, overloaded, unavailable
from headway.engines.vllm.asks import Rejection, read_rejection

EVENT = b"data: "
DONE = b"[DONE]"
ENDED_EARLY = 503
"""The status of a request that ended without output and without a word why, as when vLLM shuts down."""

_ABORT = b'"abort"'


class _Choice(Struct):
    """A choice of a whole answer or of a chunk; both kinds of completions."""

    delta: dict[str, Any] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class _Usage(Struct):
    """How many tokens there were."""

    completion_tokens: int = 0


class _Answer(Struct):
    """What an answer or chunk of one is read for."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Answer)


class Verdict(Struct, frozen=True):
    """What the beginning of an answer says: `known` once it says something, and the error to answer with if it does."""

    known: bool
    error: ApiError | None = None


UNKNOWN = Verdict(False)
GOOD = Verdict(True)


def of_whole(body: bytes) -> Verdict:
    """Judge a whole answer. It is an error only when all its choices were turned away."""
    if _ABORT not in body:
        return GOOD
    answer = _read(body)
    rejections = [_rejection(choice) for choice in (answer.choices or ())] if answer else []
    first = next(iter(rejections), None)
    return Verdict(True, error_of(first)) if first is not None and None not in rejections else GOOD


class StreamVerdict:
    """Judges a stream by its first chunks, and is done with the first one that holds output.

    vLLM begins the stream of a conversation with a chunk that only says who speaks, so that one says nothing yet. A
    chunk of a choice that was turned away says nothing yet either, for another choice may come.
    """

    def __init__(self) -> None:
        self._rejection: Rejection | None = None

    def of(self, chunk: bytes) -> Verdict:
        """Judge the stream with one more chunk."""
        for event in chunk.split(b"\n\n"):
            verdict = self._of_event(event) if event else UNKNOWN
            if verdict.known:
                return verdict
        return UNKNOWN

    def at_end(self) -> Verdict:
        """Judge a stream that is over and held no output."""
        if self._rejection is not None:
            return Verdict(True, error_of(self._rejection))
        return Verdict(True, unavailable("the request ended before its first token"))

    def _of_event(self, event: bytes) -> Verdict:
        data = event.removeprefix(EVENT)
        if data == DONE:
            return self.at_end()
        answer = _read(data) if len(data) < len(event) else None
        if answer is None or answer.choices is None:
            return GOOD  # a comment, an error or something new: not ours to hold back
        for choice in answer.choices:
            rejection = _rejection(choice)
            if rejection is not None:
                self._rejection = self._rejection or rejection
            elif choice.finish_reason is not None or not _only_says_who(choice.delta):
                return GOOD
        return UNKNOWN


def output_tokens(chunk: bytes) -> int | None:
    """Return how many tokens were given, if this is the chunk that says so."""
    if b'"usage"' not in chunk:
        return None
    answer = _read(chunk.strip().removeprefix(EVENT))
    if answer is None or answer.choices or answer.usage is None:
        return None
    return answer.usage.completion_tokens


def error_of(rejection: Rejection) -> ApiError:
    """Return the error that a request is answered with that was turned away, as our own server does."""
    if rejection.retry_after_s is None:
        return invalid(f"The request cannot be served: {rejection.why}", code="rejected")
    return overloaded(rejection.why, rejection.retry_after_s)


def _rejection(choice: _Choice) -> Rejection | None:
    return read_rejection(choice.stop_reason) if choice.finish_reason == "abort" else None


def _only_says_who(delta: dict[str, Any] | None) -> bool:
    return delta is not None and "role" in delta and not any(value for name, value in delta.items() if name != "role")


def _read(data: bytes) -> _Answer | None:
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
