"""An agent whose tool works while others press for memory: its next turn finds what was kept of it, or nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest

import headway.engines.llm
from app.server.running import Running
from headway.app.server.config import ServerConfig
from headway.engines.llm.client import COMMAND
from headway.engines.llm.config import EngineConfig

MODEL = f"{headway.engines.llm.__path__[0]}/shipped/headway-mini"
LOAD_S = 280
STORY = "The old dog and the small cat walked along the river until the sun was gone. " * 12
KV_BYTES = 4 << 20
KEEPS = ("serving/continuum", {"default_ttl_s": 120.0})
KEEPS_NOT = ("serving/sarathi", {})


@pytest.fixture(params=[KEEPS, KEEPS_NOT], ids=lambda param: param[0].rpartition("/")[2])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Running]]:
    policy, params = request.param
    engine = EngineConfig(model=MODEL, name="headway-mini", kv_bytes=KV_BYTES, policy=policy, policy_params=params)
    server = Running(ServerConfig(engine=engine, port=0, access_log=""), command=COMMAND)
    try:
        yield policy, server.start(LOAD_S)
    finally:
        server.stop()


async def others(url: str, num: int) -> None:
    """Send requests that together need several times the memory."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        bodies = [
            {"prompt": f"{number} birds sat in a tree. " * 20, "max_tokens": 60, "ignore_eos": True, "seed": number}
            for number in range(num)
        ]
        answers = await asyncio.gather(*(client.post("/v1/completions", json=body) for body in bodies))
    assert all(answer.status_code == 200 for answer in answers), answers


def until_all_is_free(client: httpx.Client, limit_s: float = 10.0) -> None:
    """Wait until nothing holds memory, for the agent has said that it is done."""
    end_s = time.monotonic() + limit_s
    while "headway_kv_used_frac 0.0" not in client.get("/metrics").text.replace("{", " {"):
        assert time.monotonic() < end_s
        time.sleep(0.05)


def turn(client: httpx.Client, prompt: str, tool: str) -> tuple[int, int, str]:
    """Send one turn of the agent; returns its prompt tokens, how many were in the cache, and the text."""
    body = {"prompt": prompt, "max_tokens": 4, "temperature": 0, "headway": {"session": "agent", "tool": tool}}
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    return usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], answer.json()["choices"][0]["text"]


def test_the_next_turn_finds_its_memory_where_it_is_kept(server: tuple[str, Running]) -> None:
    policy, running = server
    with httpx.Client(base_url=running.url, timeout=60) as client:
        first_tokens, cached, text = turn(client, STORY, "bash")
        assert cached == 0
        asyncio.run(others(running.url, 24))
        _, cached, _ = turn(client, STORY + text + " The tool says: ", "")
        if policy == "serving/continuum":
            assert cached >= first_tokens - 2 * 16
        else:
            assert cached < first_tokens / 2
        until_all_is_free(client)
