"""vLLM with our scheduler and our door, started by `headway serve --engine vllm`, as a client sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

import httpx2 as httpx
import openai

import headway
import headway.policies.serving.nouns  # the records of a trace
from headway.core.trace import read_header, read_trace

pytestmark = pytest.mark.slow

LOAD_S = 280
HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [
    {"role": "user", "content": "Tell me a story about a dog."}
]
SETTINGS = """
engine = "vllm"
policy = "serving/slos-serve"
context = 1024
kv_memory = "256MiB"
max_seqs = 16
drain_timeout = "20s"

[policy_params]
surplus = "reject"
"""
IMPOSSIBLE = {"ttft_s": 1e-6, "tpot_s": 1e-6}


class Served:
    """A server, from its greeting on."""

    def __init__(self, folder: Path) -> None:
        file = folder / "serve.toml"
        file.write_text(SETTINGS)
        self.trace = folder / "trace.bin"
        self.log: list[str] = []
        environment = {
            **os.environ, "PYTHONPATH": str(Path(headway.__file__).parents[1]), "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        words = ["serve", "--config", str(file), "--port", "0", "--trace", str(self.trace), "--json"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headway.app.cli", *words, "--", "--enforce-eager"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self.process.stdout is not None
        greeting = self.process.stdout.readline()
        assert greeting, "\n".join(self.log)
        self.facts: dict[str, Any] = json.loads(greeting)
        self.url = self.facts["url"]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self._reader.join(10)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("vllm"))
    try:
        yield served
    finally:
        served.close()


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture
def ai(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def metric(client: httpx.Client, start: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(start))


def test_the_greeting_says_what_is_served(server: Served) -> None:
    facts = server.facts
    assert (facts["engine"], facts["model"], facts["policy"]) == ("vllm", "headway-mini", "serving/slos-serve")
    assert (facts["context_tokens"], facts["slo_classes"]) == (1024, ["interactive", "default", "batch"])
    assert facts["num_blocks"] * facts["block_size"] > 1024


def test_a_stream_says_what_the_whole_answer_says(ai: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "headway-mini", "messages": HELLO, "temperature": 0, "max_tokens": 40,
        "extra_body": {"service_tier": "interactive", "headway": {"priority": 3, "ttft_s": 30, "tpot_s": 5}},
    }  # fmt: skip
    text = ai.chat.completions.create(**asked).choices[0].message.content
    assert text
    chunks = list(ai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[-1].usage is not None


def test_what_cannot_be_promised_is_turned_away(ai: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "headway-mini", "messages": HELLO, "max_tokens": 400, "extra_body": {"headway": IMPOSSIBLE}
    }  # fmt: skip
    for stream in (False, True):
        for further in ({}, {"n": 2}):
            with pytest.raises(openai.RateLimitError) as caught:
                ai.chat.completions.create(**asked, **further, stream=stream)
            assert caught.value.code == "overloaded"
            assert int(caught.value.response.headers["retry-after"]) >= 1


def test_headers_ask_too(client: httpx.Client) -> None:
    headers = {"x-headway-ttft-s": "1e-6", "x-headway-tpot-s": "1e-6"}
    body = {"model": "headway-mini", "prompt": "Once upon a time", "max_tokens": 400}
    assert client.post("/v1/completions", json=body, headers=headers).status_code == 429
    assert client.post("/v1/completions", json={**body, "max_tokens": 5}).status_code == 200


def test_nonsense_is_refused_before_vllm_sees_it(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="must be one of 'auto', 'interactive', 'default', 'batch'"):
        ai.chat.completions.create(model="headway-mini", messages=HELLO, extra_body={"service_tier": "gold"})


def test_what_was_felt_stands_in_the_metrics(client: httpx.Client) -> None:
    body = {"model": "headway-mini", "messages": HELLO, "max_tokens": 8, "stream": True, "service_tier": "interactive"}
    name = 'headway_slo_met_total{metric="ttft_s",slo="interactive"}'
    before = metric(client, name), metric(client, "headway_ttft_seconds_count")
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert metric(client, "headway_ttft_seconds_count") == before[1] + 1
    assert metric(client, name) + metric(client, name.replace("met", "missed", 1)) >= before[0]
    assert metric(client, "vllm:generation_tokens_total") > 0


def test_many_clients_at_once_are_served_and_leave_nothing(server: Served, client: httpx.Client) -> None:
    async def one(ai: httpx.AsyncClient, number: int) -> int:
        tier = ("interactive", "default", "batch")[number % 3]
        body = {"model": "headway-mini", "prompt": [number] * 50, "max_tokens": 20, "ignore_eos": True}
        answer = await ai.post("/v1/completions", json={**body, "service_tier": tier})
        return answer.status_code

    async def main() -> list[int]:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as ai:
            return await asyncio.gather(*(one(ai, number) for number in range(48)))

    statuses = asyncio.run(main())
    assert set(statuses) <= {200, 429}
    assert statuses.count(200) >= 16
    end_s = time.monotonic() + 20
    while metric(client, "vllm:num_requests_running{") or metric(client, "vllm:kv_cache_usage_perc{"):
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_it_drains_and_leaves_a_trace(server: Served) -> None:
    """The last one: it ends the server."""
    seen: list[str] = []

    def ask() -> None:
        body = {
            "model": "headway-mini", "prompt": "Once", "max_tokens": 900, "ignore_eos": True, "stream": True,
            "stream_options": {"include_usage": True},
        }  # fmt: skip
        with httpx.stream("POST", f"{server.url}/v1/completions", json=body, timeout=60) as answer:
            seen.extend(line for line in answer.iter_lines() if line.startswith("data: {"))

    asking = threading.Thread(target=ask)
    asking.start()
    end_s = time.monotonic() + 20
    while not seen:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    server.process.send_signal(signal.SIGINT)
    asking.join(60)
    assert server.process.wait(60) == 0
    assert json.loads(seen[-1][6:])["usage"]["completion_tokens"] == 900
    assert read_header(server.trace).policy == "serving/slos-serve"
    assert len(list(read_trace(server.trace))) > 100
