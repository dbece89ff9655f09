"""What every request passes: an id, a key, a span, and a line in the access log."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headway.app.server.auth import Caller
from headway.app.server.errors import bad_key, internal
from headway.app.server.record import UNANSWERED, Record, now_s
from headway.app.server.service import Service
from headway.app.server.spans import request_span

log = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/health", "/ready", "/metrics"})
"""Served without a key: probes and scrapers have none."""

ROUTES = OPEN_PATHS | {
    "/v1/chat/completions", "/v1/completions", "/v1/models", "/tokenize", "/detokenize", "/v1/files",
    "/v1/fine_tuning/jobs",
}  # fmt: skip

NAMED = (
    (re.compile(r"/v1/models/.+"), "/v1/models/{name}"),
    (re.compile(r"/v1/files/[^/]+"), "/v1/files/{id}"),
    (re.compile(r"/v1/files/[^/]+/content"), "/v1/files/{id}/content"),
    (re.compile(r"/v1/fine_tuning/jobs/[^/]+"), "/v1/fine_tuning/jobs/{id}"),
    *(
        (re.compile(f"/v1/fine_tuning/jobs/[^/]+/{word}"), f"/v1/fine_tuning/jobs/{{id}}/{word}")
        for word in ("cancel", "pause", "resume", "events", "checkpoints")
    ),
)
"""Routes of paths with a name in them."""

_GOOD_ID = re.compile(rb"[\w.:/+=@-]{1,128}")


class FrontDoor:
    """Middleware around all routes.

    Parameters
    ----------
    app : ASGI application
        What answers.
    service : Service
        The server's shared state.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start_s = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        record = _record(scope, headers)
        scope["headway.record"], scope["headway.arrived_s"] = record, start_s
        try:
            with request_span(scope["headers"], record):
                await self._guard(scope, receive, _noting(send, record), headers)
        finally:
            record.e2e_s = round(time.perf_counter() - start_s, 6)
            self._service.metrics.count("headway_http_requests", (_label(scope["path"]), str(record.status)))
            if scope["path"] not in OPEN_PATHS:  # probes ask every few seconds and say nothing about users
                self._service.log.write(record)

    async def _guard(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        """Let one request pass; a defect of ours becomes an answer like any other, with its line in the log."""
        record = record_of(scope)
        try:
            await self._pass(scope, receive, send, headers)
        except Exception:
            log.exception("server: %s failed", record.route)
            record.error = "internal error"
            if record.status != UNANSWERED:
                raise  # the answer had begun
            await internal().response()(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        caller = self._service.keys.caller(headers.get(b"authorization", b""))
        if scope["path"] in OPEN_PATHS or caller is not None:
            scope["headway.caller"] = caller
            await self._app(scope, receive, send)
            return
        error = bad_key()
        record_of(scope).error = error.body.message
        await error.response()(scope, receive, send)


def record_of(scope: Scope) -> Record:
    """The access-log line in the making."""
    record: Record = scope["headway.record"]
    return record


def caller_of(scope: Scope) -> Caller:
    """Who asks; not for `OPEN_PATHS`."""
    caller: Caller = scope["headway.caller"]
    return caller


def arrival_of(scope: Scope) -> float:
    """When the request arrived, by `time.perf_counter`."""
    arrived_s: float = scope["headway.arrived_s"]
    return arrived_s


def _record(scope: Scope, headers: dict[bytes, bytes]) -> Record:
    given = headers.get(b"x-request-id", b"")
    client = scope.get("client")
    return Record(
        at_s=now_s(),
        id=given.decode() if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex,
        route=f"{scope['method']} {_label(scope['path'])}",
        client=client[0] if client else "",
    )


def _noting(send: Send, record: Record) -> Send:
    """Note the status and add the request's id when the answer begins."""

    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", record.id.encode())]
        await send(message)

    return noted


def _label(path: str) -> str:
    """The route of a path, from a small set: strangers choose paths, and every label costs memory."""
    if path in ROUTES:
        return path
    return next((label for pattern, label in NAMED if pattern.fullmatch(path)), "other")
