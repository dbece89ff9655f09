"""What came of one request: its status, its times, its tokens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from msgspec import Struct, field

from headway.app.bench.sse import EventCutter

_MAX_ERROR_BYTES = 65536


class Answer(Struct, kw_only=True):
    """The account of one request; times are seconds since the start of the run.

    Parameters
    ----------
    id : str
        The request's id.
    slo_class : str
        The promise it named; empty for none.
    planned_s, sent_s : float
        When it should have been sent and when it was.
    lag_s : float
        How late the generator itself was, waiting for a free place left out.
    status : int
        HTTP status; 0 when there was none.
    error : str
        Why it failed; empty when it was completed.
    first_s, last_s : float
        When the first and the last text or finish came; 0 when none did.
    itls_s : list of float
        Gaps between pieces of text.
    text : str
        The output.
    input_tokens, output_tokens : int
        As the server counted them, or else as asked for and as pieces of text.
    num_finishes : int
        How often the server said that an output ended, the most for any one of them; 1 is right.
    answer_id : str
        The id the server gave to its answer.
    """

    id: str
    slo_class: str = ""
    planned_s: float
    sent_s: float = 0.0
    lag_s: float = 0.0
    status: int = 0
    error: str = "never sent"
    first_s: float = 0.0
    last_s: float = 0.0
    itls_s: list[float] = field(default_factory=list)
    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    num_finishes: int = 0
    answer_id: str = ""

    @property
    def completed(self) -> bool:
        """Whether it was answered in full."""
        return not self.error

    @property
    def ttft_s(self) -> float:
        """From sending to the first text."""
        return self.first_s - self.sent_s

    @property
    def e2e_s(self) -> float:
        """From sending to the end of the output."""
        return self.last_s - self.sent_s

    @property
    def tpot_s(self) -> float:
        """Mean time per output token after the first; 0 with fewer than two tokens."""
        return (self.e2e_s - self.ttft_s) / (self.output_tokens - 1) if self.output_tokens > 1 else 0.0


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(Struct):
    index: int = 0
    text: str | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None

    @property
    def said(self) -> str:
        if self.text is not None:
            return self.text
        return (self.delta.content or self.delta.reasoning_content or "") if self.delta else ""


class _Usage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Chunk(Struct):
    id: str = ""
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class Reading:
    """Reads one streamed answer into its account.

    Parameters
    ----------
    answer : Answer
        The account to fill.
    start_s : float
        The clock at the start of the run.
    """

    def __init__(self, answer: Answer, start_s: float) -> None:
        self.answer = answer
        self._start_s = start_s
        self._cut = EventCutter()
        self._body = b""
        self._pieces: list[str] = []
        self._finishes: Counter[int] = Counter()
        self._done = False
        self._error = ""
        self._usage: _Usage | None = None

    def status(self, status: int) -> None:
        """Take the status line."""
        self.answer.status = status

    def data(self, piece: bytes, clock_s: float) -> None:
        """Take bytes of the body that came at `clock_s`."""
        if self.answer.status != 200:
            self._body += piece[: _MAX_ERROR_BYTES - len(self._body)]
            return
        for data in self._cut.feed(piece):
            self._event(data, clock_s - self._start_s)

    def close(self, error: str = "") -> None:
        """End the account; `error` says why the connection or the client gave up, empty when the body is whole."""
        answer = self.answer
        answer.text = "".join(self._pieces)
        if self._usage:
            answer.input_tokens = self._usage.prompt_tokens or answer.input_tokens
        answer.output_tokens = self._usage.completion_tokens if self._usage else len(self._pieces)
        answer.error = self._error or error or self._fault()

    def _fault(self) -> str:
        if self.answer.status != 200:
            return f"HTTP {self.answer.status}: {error_text(self._body)}"
        if not self._done and not self.answer.num_finishes:
            return "the stream ended before the output did"
        if not self.answer.first_s:
            return "the answer was empty"
        return ""

    def _event(self, data: bytes, now_s: float) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        try:
            chunk = _decode(data)
        except msgspec.DecodeError as error:
            self._error = f"an event is not an OpenAI chunk: {error}"
            return
        if chunk.error is not None:
            self._error = f"error event: {error_text(data)}"
            return
        self.answer.answer_id = chunk.id or self.answer.answer_id
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:
            self._choice(choice, now_s)

    def _choice(self, choice: _Choice, now_s: float) -> None:
        answer, said = self.answer, choice.said
        if choice.finish_reason:
            self._finishes[choice.index] += 1
            answer.num_finishes = max(self._finishes.values())
        if not said and not choice.finish_reason:
            return  # the role that opens a chat, or half a character held back
        if not answer.first_s:
            answer.first_s = now_s
        elif said:
            answer.itls_s.append(now_s - answer.last_s)
        if said:
            self._pieces.append(said)
        answer.last_s = now_s


def error_text(body: bytes) -> str:
    """Return the message of an OpenAI error object, or the start of whatever came instead."""
    try:
        message = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError):
        message = body.decode("utf-8", "replace")
    return " ".join(str(message).split())[:300] or "no reason given"
