"""Carries the outputs of one order to its client, whole or as a stream, and gives up when nobody listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from headway.app.server.answer import whole_answer
from headway.app.server.chunks import ChunkWriter
from headway.app.server.errors import ApiError, internal, timed_out
from headway.app.server.generation import Generation
from headway.app.server.mailbox import ClientGone, Mailbox
from headway.app.server.meter import Meter
from headway.app.server.order import Order
from headway.app.server.record import Record
from headway.app.server.service import Service
from headway.app.server.tokenizer import ModelTokenizer

log = logging.getLogger(__name__)

READ_PATIENCE_S = 30.0
"""How long a client may leave what it was sent unread before it counts as gone."""

EVENT_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Delivery(Response):
    """The answer to one order, as an ASGI application.

    Parameters
    ----------
    service : Service
        The server's shared state.
    order : Order
        What is answered.
    record : Record
        Where its access-log line is collected.
    arrived_s : float
        When the request arrived, by `time.perf_counter`.
    """

    def __init__(self, service: Service, order: Order, record: Record, arrived_s: float) -> None:
        super().__init__()
        self._service = service
        self._order = order
        self._record = record
        self._tokenizer: ModelTokenizer = service.desk.tokenizer
        self._fingerprint = service.fingerprint
        self._meter = Meter(service.metrics, order, arrived_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer; errors found before the first byte are raised as `ApiError`."""
        service, count, mailbox = self._service, self._order.num_outputs, Mailbox()
        generation = Generation(self._order, service.engine, self._tokenizer, mailbox, self._meter)
        service.gate.enter(count)
        service.mailboxes.add(mailbox)
        timeout_s = service.config.request_timeout_s
        timer = asyncio.get_running_loop().call_later(timeout_s, mailbox.fail, timed_out(timeout_s))
        watch = asyncio.create_task(_watch(receive, mailbox))
        try:
            with contextlib.suppress(ClientGone), generation:
                await (self._stream if self._order.stream else self._whole)(generation, _impatient(send))
        finally:
            timer.cancel()
            watch.cancel()
            service.mailboxes.discard(mailbox)
            service.gate.leave(count)
            self._note(generation)

    async def _whole(self, generation: Generation, send: Send) -> None:
        body = await whole_answer(generation, self._tokenizer, self._fingerprint)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, generation: Generation, send: Send) -> None:
        deltas = await generation.news()  # before the status is sent: a refusal still gets its own
        await send({"type": "http.response.start", "status": 200, "headers": EVENT_HEADERS})
        writer = ChunkWriter(self._order, self._tokenizer, self._fingerprint)
        try:
            while True:
                events = b"".join([writer.write(delta) for delta in deltas])
                if generation.done:
                    break
                if events:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
                deltas = await generation.news()
            events += writer.end(generation)
        except ApiError as error:
            events = self._failed(error)
        except ClientGone:
            raise
        except Exception:
            log.exception("server: a stream failed")
            events = self._failed(internal())
        await send({"type": "http.response.body", "body": events})

    def _failed(self, error: ApiError) -> bytes:
        self._record.error = error.body.message
        return error.event

    def _note(self, generation: Generation) -> None:
        record, meter = self._record, self._meter
        record.cached_tokens = generation.cached_tokens
        record.output_tokens = generation.output_tokens
        record.finish = ",".join(meter.finishes)
        record.ttft_s = None if meter.ttft_s is None else round(meter.ttft_s, 6)


def _impatient(send: Send) -> Send:
    """Give up on a client that is connected but does not read: its place is wanted."""

    async def sent(message: Message) -> None:
        try:
            async with asyncio.timeout(READ_PATIENCE_S):
                await send(message)
        except TimeoutError as error:
            raise ClientGone from error

    return sent


async def _watch(receive: Receive, mailbox: Mailbox) -> None:
    """Tell the mailbox when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    mailbox.fail(ClientGone())
