"""An OpenAI-compatible server with a model of its own kind: it says known pieces at known times, or fails on demand."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


@dataclass
class FakeOpenAI:
    """What it does, and what it was asked.

    `faults` names a fault per request number: ``"refuse"`` (HTTP 503), ``"event"`` (an error event), ``"break"`` (it
    ends early), ``"hang"`` (nothing more comes), ``"twice"`` (the output ends twice). With `together`, no answer
    begins before so many requests are there.
    """

    first_s: float = 0.0
    gap_s: float = 0.0
    context: int = 256
    takes_ids: bool = True
    has_tokenize: bool = True
    api_key: str = ""
    same_id: bool = False
    together: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)
    piece_clocks: list[list[float]] = field(default_factory=list)
    awaited: list[tuple[int, threading.Event]] = field(default_factory=list)
    num_now: int = 0
    num_most: int = 0

    def seen(self, num: int) -> threading.Event:
        """Return what is set once so many requests were there."""
        event = threading.Event()
        self.awaited.append((num, event))
        return event

    def app(self) -> Starlette:
        routes = [
            Route("/v1/models", self.models),
            Route("/v1/completions", self.answer, methods=["POST"]),
            Route("/v1/chat/completions", self.answer, methods=["POST"]),
        ]
        if self.has_tokenize:
            routes.append(Route("/tokenize", self.tokenize, methods=["POST"]))
        return Starlette(routes=routes)

    async def models(self, request: Request) -> Response:
        if self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _error("Incorrect API key", 401)
        return JSONResponse(
            {"object": "list", "data": [{"id": "fake", "object": "model", "max_model_len": self.context}]}
        )

    async def tokenize(self, request: Request) -> Response:
        words = (await request.json())["prompt"].split()
        return JSONResponse({"tokens": [100 + number for number, _ in enumerate(words)], "count": len(words)})

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        if not self.takes_ids and isinstance(body.get("prompt"), list):
            return _error("prompt must be a string", 400)
        number = len(self.bodies)
        self.bodies.append(body)
        for num, event in self.awaited:
            if len(self.bodies) >= num:
                event.set()
        self.request_ids.append(request.headers.get("x-request-id", ""))
        if self.faults.get(number) == "refuse":
            return _error("too busy", 503)
        chat = "messages" in body
        if not body.get("stream"):
            return JSONResponse(_whole(body, chat))
        return StreamingResponse(self._stream(number, body, chat), media_type="text/event-stream")

    async def _stream(self, number: int, body: dict[str, Any], chat: bool) -> AsyncIterator[bytes]:
        self.num_now += 1
        self.num_most = max(self.num_most, self.num_now)
        try:
            async for data in self._events(number, body, chat):
                yield b"data: " + data + b"\n\n"
        finally:
            self.num_now -= 1

    async def _events(self, number: int, body: dict[str, Any], chat: bool) -> AsyncIterator[bytes]:
        fault, clocks = self.faults.get(number), [time.perf_counter()]
        self.piece_clocks.append(clocks)
        while self.num_most < self.together:
            await asyncio.sleep(0.005)
        answer_id = "same" if self.same_id else f"answer-{number}"
        num = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
        if chat:
            yield _chunk(answer_id, chat, None, None)
        for index in range(num):
            await asyncio.sleep(self.gap_s if index else self.first_s)
            if fault and index == 1:
                if fault == "event":
                    yield json.dumps({"error": {"message": "the engine died", "code": 500}}).encode()
                if fault in ("event", "break"):
                    return
                if fault == "hang":
                    await asyncio.sleep(3600)
            clocks.append(time.perf_counter())
            yield _chunk(answer_id, chat, f" w{index}", "length" if index == num - 1 else None)
        if fault == "twice":
            yield _chunk(answer_id, chat, "", "length")
        if (body.get("stream_options") or {}).get("include_usage"):
            yield json.dumps({"id": answer_id, "choices": [], "usage": _usage(body, num)}).encode()
        yield b"[DONE]"


@contextmanager
def running(fake: FakeOpenAI) -> Iterator[str]:
    """Serve it on a free port from a thread; gives its base URL."""
    config = uvicorn.Config(
        fake.app(), port=0, log_level="error", ws="none", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def _usage(body: dict[str, Any], num: int) -> dict[str, int]:
    return {"prompt_tokens": _prompt_tokens(body), "completion_tokens": num, "total_tokens": _prompt_tokens(body) + num}


def _prompt_tokens(body: dict[str, Any]) -> int:
    prompt = body["prompt"] if "prompt" in body else " ".join(m["content"] for m in body["messages"])
    return len(prompt.split() if isinstance(prompt, str) else prompt)


def _whole(body: dict[str, Any], chat: bool) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": "ok"}} if chat else {"text": "ok"}
    return {"id": "whole", "choices": [{"index": 0, "finish_reason": "stop", **choice}], "usage": _usage(body, 1)}


def _chunk(answer_id: str, chat: bool, text: str | None, finish: str | None) -> bytes:
    said: dict[str, Any] = {"text": text}
    if chat:
        said = {"delta": {"role": "assistant", "content": ""} if text is None else {"content": text}}
    return json.dumps({"id": answer_id, "choices": [{"index": 0, "finish_reason": finish, **said}]}).encode()


def _error(message: str, status: int) -> Response:
    return JSONResponse({"error": {"message": message, "type": "error", "param": None, "code": None}}, status)
