"""One answer on its way back: held until it is known whether the request was turned away, then passed on as it is."""

from __future__ import annotations

import time

from starlette.types import Message, Scope, Send

from headway.app.server.errors import ApiError
from headway.app.server.promises import Promise
from headway.app.vllm.tally import Felt, Tally
from headway.app.vllm.verdict import ENDED_EARLY, StreamVerdict, Verdict, of_whole, output_tokens
from headway.core.nouns import Seconds

STREAM = b"text/event-stream"
_EVENT_OBJECT = b"{"
_FIRST_CHOICE = b'"index":0'
_NOBODY = b"null"
"""What vLLM answers whole when whoever asked has left."""
_LENGTH = b'"finish_reason":"length"'


class Answer:
    """Stands in for `send`.

    Nothing is changed in an answer that goes on, and from its first output on nothing is held back.

    Parameters
    ----------
    scope : mapping
        Of the request.
    send : callable
        Sends to the client.
    promise : Promise
        What the request was promised.
    tally : Tally
        Told what its sender felt.
    arrived_s : float
        When it arrived, by `time.perf_counter`.
    """

    def __init__(self, scope: Scope, send: Send, promise: Promise, tally: Tally, arrived_s: Seconds) -> None:
        self._scope = scope
        self._send = send
        self._promise = promise
        self._tally = tally
        self._arrived_s = arrived_s
        self._held: list[Message] = []
        self._verdict = StreamVerdict()
        self._decided = False
        self._stream = False
        self._turned_away = False
        self._over = False
        self._first_s = self._last_s = 0.0
        self._num_chunks = self._num_first = 0
        self._before = self._last = b""

    async def __call__(self, message: Message) -> None:
        """Pass a message on, or hold it."""
        if not self._decided:
            await self._judge(message)
            return
        if self._turned_away:
            return
        body: bytes = message.get("body", b"")
        if body[6:7] == _EVENT_OBJECT:  # `data: {...}`; vLLM sends one such event per token
            self._num_chunks += 1
            self._before, self._last = self._last, body
            if _FIRST_CHOICE in body:
                self._num_first += 1
                self._last_s = time.perf_counter()
        self._over = not message.get("more_body", False)
        await self._send(message)

    async def close(self) -> None:
        """Count the answer, once vLLM is done with it."""
        if not self._decided:
            await self._let_go()  # what came so far was no whole answer; the HTTP server knows what to do
        if self._turned_away:
            return
        if not self._over or self._last == _NOBODY:
            self._tally.ended("cancelled")
        elif self._first_s:
            reason = "length" if _LENGTH in self._last or _LENGTH in self._before else "stop"
            self._tally.finished(self._promise, self._felt(), reason)

    async def _judge(self, message: Message) -> None:
        self._held.append(message)
        if message["type"] == "http.response.start":
            self._stream = any(name == b"content-type" and STREAM in value for name, value in message["headers"])
            if message["status"] != 200:
                await self._let_go()
            return
        verdict = self._of(message)
        if verdict.error is not None:
            await self._turn_away(verdict.error)
        elif verdict.known:
            self._first_s = self._last_s = time.perf_counter()
            await self._let_go()

    def _of(self, message: Message) -> Verdict:
        if message["type"] != "http.response.body":
            return Verdict(True)
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self._stream:
            return Verdict(True) if more else of_whole(body)
        verdict = self._verdict.of(body)
        return verdict if verdict.known or more else self._verdict.at_end()

    async def _let_go(self) -> None:
        self._decided = True
        self._num_chunks = self._num_first = 1
        held, self._held = self._held, []
        for message in held:
            if message["type"] == "http.response.body":
                self._over = not message.get("more_body", False)
                self._last = message.get("body", b"")
            await self._send(message)

    async def _turn_away(self, error: ApiError) -> None:
        self._decided = self._turned_away = True
        self._held = []
        self._tally.turned_away(self._promise, "cancelled" if error.status == ENDED_EARLY else "rejected")
        await error.response()(self._scope, _nothing, self._send)

    def _felt(self) -> Felt:
        if not self._stream:
            return Felt(e2e_s=time.perf_counter() - self._arrived_s)
        later = self._num_tokens - 1
        return Felt(
            ttft_s=self._first_s - self._arrived_s,
            tpot_s=(self._last_s - self._first_s) / later if later > 0 else None,
            e2e_s=self._last_s - self._arrived_s,
        )

    @property
    def _num_tokens(self) -> int:
        """Tokens of the first choice: as told when nothing but usage came beside it, else as many as its events."""
        told = output_tokens(self._last) if self._num_chunks == self._num_first + 1 else None
        return told or self._num_first


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
