"""Streamed answers: server-sent events whose unchanging parts are written once per request."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headway.app.server.answer import usage_of
from headway.app.server.choice import Delta
from headway.app.server.generation import Generation
from headway.app.server.order import Order
from headway.app.server.scored import chat_logprobs, completion_logprobs
from headway.app.server.tokenizer import ModelTokenizer

encode = msgspec.json.Encoder().encode

END = b"data: [DONE]\n\n"


class ChunkWriter:
    """Writes the events of one streamed answer.

    Parameters
    ----------
    order : Order
        What is answered.
    tokenizer : ModelTokenizer
        Names the tokens of log-probabilities.
    fingerprint : str
        Of the system that answers.
    """

    def __init__(self, order: Order, tokenizer: ModelTokenizer, fingerprint: str) -> None:
        head = {
            "id": order.id,
            "object": "chat.completion.chunk" if order.chat else "text_completion",
            "created": order.created,
            "model": order.model,
            "service_tier": order.promise.slo_class,
            "system_fingerprint": fingerprint,
        }
        self._head = b"data: " + encode(head)[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if order.include_usage else b"]}\n\n"
        self._tokenizer = tokenizer
        self._wants_scores = order.sampling[0].logprobs is not None
        self._write: Callable[[Delta], bytes] = self._chat if order.chat else self._completion
        self._begun = [False] * order.num_outputs
        self._starts = [b'{"index":%d,' % index for index in range(order.num_outputs)]

    def write(self, delta: Delta) -> bytes:
        """The events for what is new of one output; none when there is nothing to show."""
        return self._write(delta)

    def end(self, generation: Generation) -> bytes:
        """The last events of the answer."""
        if not generation.order.include_usage:
            return END
        usage = encode(usage_of(generation))
        return self._head + b'],"usage":' + usage + b"}\n\n" + END

    def _chat(self, delta: Delta) -> bytes:
        index, events = delta.index, b""
        if not self._begun[index]:
            self._begun[index] = True
            events = self._chat_event(index, b'{"role":"assistant","content":""}', b"null", b"null")
        if delta.text or delta.scored:
            scores = encode(chat_logprobs(self._tokenizer, delta.scored)) if self._wants_scores else b"null"
            events += self._chat_event(index, b'{"content":' + encode(delta.text) + b"}", scores, b"null")
        if delta.finish:
            events += self._chat_event(index, b"{}", b"null", encode(delta.finish))
        return events

    def _chat_event(self, index: int, delta: bytes, scores: bytes, finish: bytes) -> bytes:
        return b"".join((
            self._head, self._starts[index], b'"delta":', delta, b',"logprobs":', scores, b',"finish_reason":', finish,
            b"}", self._tail,
        ))  # fmt: skip

    def _completion(self, delta: Delta) -> bytes:
        if not (delta.text or delta.scored or delta.finish):
            return b""
        scores = encode(completion_logprobs(self._tokenizer, delta.scored)) if self._wants_scores else b"null"
        return b"".join((
            self._head, self._starts[delta.index], b'"text":', encode(delta.text), b',"logprobs":', scores,
            b',"finish_reason":', encode(delta.finish or None), b"}", self._tail,
        ))  # fmt: skip
