"""The server with the real engine and the shipped model, as a client sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import openai
import pytest

import headway.engines.llm
from app.server.running import Running
from headway.app.server.config import ServerConfig
from headway.engines.llm.client import COMMAND
from headway.engines.llm.config import EngineConfig

MODEL = f"{headway.engines.llm.__path__[0]}/shipped/headway-mini"
HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [
    {"role": "user", "content": "Tell me a story about a dog."}
]
LONG = {"prompt": "Once upon a time", "max_tokens": 1500, "ignore_eos": True}

LOAD_S = 280
"""The first load on a machine may compile the kernels."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    engine = EngineConfig(model=MODEL, name="headway-mini", kv_bytes=32 << 20)
    server = Running(ServerConfig(engine=engine, port=0, access_log=""), command=COMMAND)
    try:
        yield server.start(LOAD_S)
    finally:
        server.stop()


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def ai(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def value(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def until_value(client: httpx.Client, name: str, wanted: float, limit_s: float = 10) -> None:
    end_s = time.monotonic() + limit_s
    while value(client, name) != wanted:
        assert time.monotonic() < end_s
        time.sleep(0.05)


def test_a_stream_says_what_the_whole_answer_says(ai: openai.OpenAI) -> None:
    whole = ai.chat.completions.create(model="headway-mini", messages=HELLO, temperature=0, max_tokens=40)
    text = whole.choices[0].message.content
    assert text
    assert len(text.split()) > 5
    stream = ai.chat.completions.create(
        model="headway-mini",
        messages=HELLO,
        temperature=0,
        max_tokens=40,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_seeds_make_outputs_repeatable_and_n_makes_them_differ(ai: openai.OpenAI) -> None:
    def texts() -> list[str]:
        made = ai.completions.create(model="headway-mini", prompt="Once upon a time", seed=7, n=3, max_tokens=24)
        return [choice.text for choice in made.choices]

    first = texts()
    assert texts() == first
    assert len(set(first)) == 3


def test_logprobs_are_those_of_greedy_choices(client: httpx.Client) -> None:
    body = {"prompt": "Once upon a", "max_tokens": 5, "temperature": 0, "logprobs": 3}
    scores = client.post("/v1/completions", json=body).json()["choices"][0]["logprobs"]
    assert len(scores["tokens"]) == 5
    for token, logprob, top in zip(scores["tokens"], scores["token_logprobs"], scores["top_logprobs"], strict=True):
        assert top[token] == logprob == max(top.values())


def test_output_follows_a_json_schema(client: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "maximum": 99, "minimum": 1},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    body = {"messages": HELLO, "response_format": wanted, "max_tokens": 100, "seed": 1}
    choice = client.post("/v1/chat/completions", json=body).json()["choices"][0]
    assert choice["finish_reason"] == "stop", choice
    made = json.loads(choice["message"]["content"])
    assert set(made) == {"name", "age"}
    assert 1 <= made["age"] <= 99


def test_a_bad_schema_is_refused(client: httpx.Client) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    answer = client.post("/v1/chat/completions", json={"messages": HELLO, "response_format": wanted})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "rejected")


def test_a_stop_string_cuts_the_greedy_text(client: httpx.Client) -> None:
    body: dict[str, Any] = {"prompt": "Once upon a time", "max_tokens": 30, "temperature": 0}
    whole = client.post("/v1/completions", json=body).json()["choices"][0]["text"]
    stop = whole[12:17]
    cut = client.post("/v1/completions", json={**body, "stop": stop}).json()["choices"][0]
    assert cut["text"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"


def test_a_prompt_seen_before_is_found_in_the_cache(client: httpx.Client) -> None:
    body = {"prompt": "A dog and a cat walked along the river. " * 10, "max_tokens": 1}
    client.post("/v1/completions", json=body)
    again = client.post("/v1/completions", json=body).json()
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= 16


def test_memory_is_given_back_when_clients_leave(client: httpx.Client) -> None:
    with client.stream("POST", "/v1/completions", json={**LONG, "n": 4, "stream": True}) as answer:
        assert answer.status_code == 200
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/completions", json={**LONG, "n": 4}, timeout=0.3)
    until_value(client, "headway_live", 0)
    until_value(client, "headway_running", 0)
    until_value(client, "headway_kv_used_frac", 0)


def test_a_killed_engine_is_told_and_comes_back(server: Running, client: httpx.Client) -> None:
    async def stream(ai: httpx.AsyncClient, first: asyncio.Semaphore) -> str:
        last = ""
        async with ai.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer:
            async for line in answer.aiter_lines():
                if line and not last:
                    first.release()
                last = line or last
        return last

    async def main() -> tuple[list[str], float]:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as ai:
            first = asyncio.Semaphore(0)
            streams = [asyncio.create_task(stream(ai, first)) for _ in range(32)]
            for _ in streams:
                await first.acquire()
            pid = server.life.service.engine.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            start_s = time.monotonic()
            return await asyncio.gather(*streams), time.monotonic() - start_s

    ends, took_s = asyncio.run(main())
    assert took_s < 2
    assert all(json.loads(end[6:])["error"]["code"] == "engine_restarting" for end in ends)
    assert client.get("/ready").status_code == 503
    end_s = time.monotonic() + 100
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < end_s
        time.sleep(0.1)
    answer = client.post("/v1/completions", json={"prompt": "Once upon a time", "max_tokens": 5})
    assert answer.status_code == 200
