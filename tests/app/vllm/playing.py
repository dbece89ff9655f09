"""A small application that plays vLLM behind the door, and a client of it that sees every message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from headway.app.vllm.door import Door

CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"
Play = Callable[[Send], Awaitable[None]]


class Vllm:
    """Notes what reaches it, and answers as it is told."""

    def __init__(self, play: Play | None = None) -> None:
        self.play = play or whole({"choices": [{"index": 0, "finish_reason": "stop", "stop_reason": None}]})
        self.bodies: list[bytes] = []
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        parts = []
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        self.bodies.append(b"".join(parts))
        await self.play(send)

    @property
    def body(self) -> Any:
        return json.loads(self.bodies[-1])

    @property
    def asks(self) -> Any:
        return {name: value for name, value in self.body.get("vllm_xargs", {}).items()}

    def header(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.scopes[-1]["headers"] if key == name]


class Heard:
    """What a client heard."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        self.status: int = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.chunks: list[bytes] = [message["body"] for message in messages[1:]]

    @property
    def error(self) -> Any:
        return json.loads(b"".join(self.chunks))["error"]


class Street:
    """A door with vLLM behind it."""

    def __init__(self, vllm: Vllm, additional: dict[str, Any] | None = None, keys: tuple[str, ...] = ()) -> None:
        self.vllm = vllm
        self.registry = CollectorRegistry()
        self.door = Door(vllm, self.registry)
        config = SimpleNamespace(additional_config=additional or {})
        self.app = SimpleNamespace(state=SimpleNamespace(vllm_config=config, args=SimpleNamespace(api_key=list(keys))))

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def post(
        self, body: Any, path: str = CHAT, headers: dict[str, str] | None = None, parts: Iterable[bytes] | None = None
    ) -> Heard:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return asyncio.run(self.talk(raw, path, headers or {}, list(parts or [raw])))

    async def talk(self, raw: bytes, path: str, headers: dict[str, str], parts: list[bytes]) -> Heard:
        heard: list[Message] = []
        given = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "method": "POST", "path": path, "app": self.app,
            "headers": [(b"content-length", str(len(raw)).encode()), *given],
        }  # fmt: skip

        async def receive() -> Message:
            if not parts:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Message) -> None:
            heard.append(message)

        await self.door(scope, receive, send)
        return Heard(heard)


def whole(answer: Any, status: int = 200) -> Play:
    """Answer at once with JSON."""
    body = json.dumps(answer, separators=(",", ":")).encode()

    async def play(send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return play


def stream(*events: Any) -> Play:
    """Answer with a stream of events, as vLLM frames them."""

    async def play(send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in framed(*events):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return play


def framed(*events: Any) -> list[bytes]:
    texts = [event if isinstance(event, str) else json.dumps(event, separators=(",", ":")) for event in events]
    return [text.encode() if text.startswith(":") else f"data: {text}\n\n".encode() for text in texts]


def says_who(index: int = 0) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}


def says(text: str, index: int = 0, finish: str | None = None, stop: str | None = None) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return {"choices": [choice | ({"stop_reason": stop} if finish else {})]}
