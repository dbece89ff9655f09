"""Policies in the live server: whoever schedules, all is answered, in the same words, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

SERVE = (sys.executable, "-m", "headway.app.cli", "serve", "--port", "0", "--json", "--access-log", "")
PLAIN = ("--no-native", "--dtype", "float32", "--kv-memory", "2MiB", "--max-seqs", "12")
"""Words must not depend on who shares a step, and memory is short enough that requests give way to each other."""
CLASSES = ("interactive", "default", "batch")
LEARNED = """
policy = "serving/stack"
[policy_params]
order = "serving/reserve"
batch = { id = "serving/sarathi", token_budget = 256 }
predict = { id = "serving/castillo", kind = "learned", num_least = 4 }
"""
QUANTILE = ("order=serving/shortest-first", 'predict={id = "serving/castillo", kind = "quantile", num_least = 4}')
POLICIES: dict[str, tuple[str, ...]] = {
    name: ("--policy", f"serving/{name}")
    for name in ("headway", "slos-serve", "layered-prefill", "semi-pd", "continuum")
} | {
    "castillo-quantile": (
        "--policy",
        "serving/stack",
        *(word for pair in QUANTILE for word in ("--policy-param", pair)),
    ),
    "castillo-learned": (),
}
NUM_REQUESTS = 18


@contextmanager
def served(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen([*SERVE, *PLAIN, *flags], env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line, process.communicate()[1]
            yield process, json.loads(line)["url"]
        finally:
            if process.poll() is None:
                process.kill()


def body(number: int) -> dict[str, Any]:
    """Return one of the requests, long and short ones, of all classes, some with promises of their own."""
    asked: dict[str, Any] = {
        "prompt": f"{number} cats and {number % 5} dogs walked along the river. " * (1 + 7 * (number % 4)),
        "max_tokens": 8 + 6 * (number % 5),
        "temperature": 0,
        "ignore_eos": True,
        "service_tier": CLASSES[number % 3],
    }
    if number % 6 == 0:
        asked["headway"] = {"ttft_s": 0.5, "tpot_s": 0.05, "tenant": "acme", "session": f"chat-{number % 2}"}
    return asked


async def whole(client: httpx.AsyncClient, number: int) -> str:
    answer = await client.post("/v1/completions", json=body(number))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


async def hang_up(client: httpx.AsyncClient, number: int) -> None:
    """Read two events of a stream and go away."""
    asked = {**body(number), "max_tokens": 400, "stream": True}
    async with client.stream("POST", "/v1/completions", json=asked) as answer:
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        for _ in range(2):
            await anext(lines)


async def give_up(client: httpx.AsyncClient, number: int) -> None:
    """Go away before anything has been answered."""
    with pytest.raises(httpx.TimeoutException):
        await client.post("/v1/completions", json={**body(number), "max_tokens": 400}, timeout=0.3)


async def play(url: str, *, with_leavers: bool) -> list[str]:
    """Send everything at once; returns the texts of those who stayed."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        leavers: list[asyncio.Task[None]] = []
        if with_leavers:
            leavers = [asyncio.create_task(leave(client, n)) for n in range(3) for leave in (hang_up, give_up)]
        texts = await asyncio.gather(*(whole(client, number) for number in range(NUM_REQUESTS)))
        await asyncio.gather(*leavers)
    return texts


def value(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def until_nothing_is_left(url: str, limit_s: float = 20.0) -> None:
    end_s = time.monotonic() + limit_s
    with httpx.Client(base_url=url, timeout=30) as client:
        while left := [n for n in ("running", "waiting", "kv_used_frac") if value(client, f"headway_{n}")]:
            assert time.monotonic() < end_s, left
            time.sleep(0.05)


@pytest.fixture(scope="module")
def words() -> list[str]:
    """What `serving/sarathi` answers when nobody leaves."""
    with served("--policy", "serving/sarathi") as (_, url):
        return asyncio.run(play(url, with_leavers=False))


def flags_of(name: str, folder: Path) -> tuple[str, ...]:
    if name != "castillo-learned":
        return POLICIES[name]
    file = folder / "serve.toml"
    file.write_text(LEARNED)
    return ("--config", str(file))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "headway" else pytest.mark.slow) for name in POLICIES]
)
def test_all_is_answered_in_the_same_words(name: str, words: list[str], tmp_path: Path) -> None:
    with served(*flags_of(name, tmp_path)) as (process, url):
        assert asyncio.run(play(url, with_leavers=True)) == words
        until_nothing_is_left(url)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("params", [("predict={id='serving/castillo', kind='oracle'}",), ()])
def test_a_clairvoyant_is_refused_at_the_start(params: tuple[str, ...]) -> None:
    policy = ("--policy", "serving/stack" if params else "serving/oracle")
    flags = (*policy, *(word for param in params for word in ("--policy-param", param)))
    done = subprocess.run([*SERVE, *flags], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "true lengths" in done.stderr
    assert "Traceback" not in done.stderr
