"""The door of a vLLM server: what a request asks goes in with it, and one that was turned away is told so.

vLLM builds it when it is started with ``--middleware headway.app.vllm.door.Door``; `headway serve --engine vllm` does
that. It finds its settings where the scheduler finds them, in vLLM's ``--additional-config``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headway.app.server.auth import KeyRing
from headway.app.server.errors import ApiError
from headway.app.server.limits import discard_body, read_body
from headway.app.server.promises import Promises
from headway.app.vllm.answer import Answer
from headway.app.vllm.asking import Asking, AskingDesk
from headway.app.vllm.tally import Tally
from headway.core.errors import ConfigError
from headway.core.parameters import decode
from headway.engines.vllm.settings import settings_of

KEY = "headway_door"
"""The entry of vLLM's additional configuration that holds the door's own settings."""

COMPLETIONS = frozenset({"/v1/chat/completions", "/v1/completions"})
"""Paths whose answers are read, too."""

PATHS = COMPLETIONS | {"/v1/responses"}


class DoorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the door is told beside the scheduler's settings.

    Parameters
    ----------
    max_body_bytes : int
        Longest request body in bytes, >= 1024; 64 MiB by default, for images may be in it.
    """

    max_body_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if self.max_body_bytes < 1024:
            raise ConfigError(f"vllm: max_body_bytes must be >= 1024, got {self.max_body_bytes}. Try {64 << 20}.")


class _Desk(Struct, frozen=True):
    """What the door knows once vLLM is ready."""

    asking: AskingDesk
    keys: KeyRing
    tally: Tally
    max_body_bytes: int


class Door:
    """Middleware around vLLM's API.

    Parameters
    ----------
    app : ASGI application
        vLLM's.
    registry : CollectorRegistry
        Where its metrics are written down.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry = REGISTRY) -> None:
        self._app = app
        self._registry = registry
        self._desk: _Desk | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass."""
        if scope["type"] != "http" or scope["method"] != "POST" or _path(scope) not in PATHS:
            await self._app(scope, receive, send)
            return
        desk = self._desk = self._desk or _desk(scope["app"].state, self._registry)
        headers = dict(scope["headers"])
        if not desk.keys.opens(headers.get(b"authorization", b"")):  # vLLM's to refuse, with nothing of it read
            await self._app(scope, receive, send)
            return
        try:
            await self._pass(desk, scope, receive, send, headers)
        except ApiError as error:
            desk.tally.refused(error.body.code or str(error.status))
            await _refuse(error, scope, receive, send)
        except ClientDisconnect:
            desk.tally.ended("cancelled")

    async def _pass(
        self, desk: _Desk, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, bytes]
    ) -> None:
        arrived_s = time.perf_counter()
        raw = await read_body(scope, receive, desk.max_body_bytes)
        asking = desk.asking.read(raw, headers)
        inner = scope if asking.raw is raw else {**scope, "headers": _with_length(scope, len(asking.raw))}
        if _path(scope) not in COMPLETIONS:
            await self._app(inner, _again(asking, receive), send)
            return
        answer = Answer(scope, send, asking.promise, desk.tally, arrived_s)
        await self._app(inner, _again(asking, receive), answer)
        await answer.close()


def _desk(state: Any, registry: CollectorRegistry) -> _Desk:
    """Read the settings from the state of vLLM's application."""
    additional = getattr(getattr(state, "vllm_config", None), "additional_config", None)
    settings = settings_of(additional)
    own = decode(DoorSettings, additional.get(KEY, {}) if isinstance(additional, Mapping) else {}, where="vllm: door")
    classes = settings.slo_classes
    keys = getattr(getattr(state, "args", None), "api_key", None) or [os.environ.get("VLLM_API_KEY", "")]
    return _Desk(
        AskingDesk(Promises(classes, settings.default_slo_class), frozenset(promise.name for promise in classes)),
        KeyRing([key for key in keys if key]),
        Tally(classes, registry),
        own.max_body_bytes,
    )


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _with_length(scope: Scope, num_bytes: int) -> list[tuple[bytes, bytes]]:
    dropped = (b"content-length", b"transfer-encoding")
    kept = [(name, value) for name, value in scope["headers"] if name not in dropped]
    return [*kept, (b"content-length", str(num_bytes).encode())]


def _again(asking: Asking, receive: Receive) -> Receive:
    """Give a body that has been read to whoever asks first, and then whatever comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": asking.raw, "more_body": False}

    return again


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    if error.status != 413:
        await error.response()(scope, receive, send)
        return
    response = error.response()  # a client that is still sending reads nothing if the connection is closed at once
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    await discard_body(receive)
    await send({"type": "http.response.body", "body": b""})
