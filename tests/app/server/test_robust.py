"""What happens when clients leave, engines die, queues fill and operators stop the server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from app.server.running import FAKE_ENGINE, Running, running, told
from headway.core.errors import ConfigError, EngineError

LONG = {"prompt": "the cat", "max_tokens": 2000, "ignore_eos": True}
SLOW = {"step_s": 0.01}


def until(holds: Callable[[], bool], limit_s: float = 10.0) -> float:
    """Wait until something holds; returns how long it took."""
    start_s = time.monotonic()
    while not holds():
        assert time.monotonic() - start_s < limit_s
        time.sleep(0.005)
    return time.monotonic() - start_s


def kinds(path: Path, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in told(path) if entry["type"] == kind]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "told.jsonl"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_cancelled_at_once(model: Path, log: Path, stream: bool) -> None:
    with running(model, SLOW, {"trace": str(log)}) as server:
        process = subprocess.Popen(
            ["curl", "-sN", f"{server.url}/v1/completions", "-d", json.dumps({**LONG, "n": 2, "stream": stream})],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: len(kinds(log, "Submit")) == 2)
        process.kill()
        process.wait()
        assert until(lambda: len(kinds(log, "Cancel")) == 2) < 0.5
        assert {cancel["reason"] for cancel in kinds(log, "Cancel")} == {"cancelled"}
        until(lambda: server.life.service.gate.live == 0)
        assert server.life.service.engine.num_live == 0


def test_a_stop_string_stops_the_engine_too(model: Path, log: Path) -> None:
    with running(model, SLOW, {"trace": str(log)}) as server, httpx.Client(base_url=server.url) as client:
        body = client.post("/v1/completions", json={**LONG, "stop": "tthe c"}).json()
        assert body["choices"][0]["text"] == "the ca"  # of "the catthe catthe cat"
        assert body["usage"]["completion_tokens"] == 4
        until(lambda: bool(kinds(log, "Cancel")))
        assert [cancel["reason"] for cancel in kinds(log, "Cancel")] == ["stop"]


async def _stream_to_the_end(client: httpx.AsyncClient, first: asyncio.Semaphore) -> str:
    """Stream until the server ends it; returns the last event."""
    last = ""
    async with client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line and not last:
                first.release()
            last = line or last
    return last


def test_an_engine_that_is_killed_comes_back(model: Path) -> None:
    async def main(server: Running) -> None:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=20, limits=httpx.Limits(max_connections=99)
        ) as client:
            first = asyncio.Semaphore(0)
            streams = [asyncio.create_task(_stream_to_the_end(client, first)) for _ in range(32)]
            for _ in streams:
                await first.acquire()
            whole = asyncio.create_task(client.post("/v1/completions", json=LONG))
            await asyncio.sleep(0.1)
            pid = server.life.service.engine.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            start_s = time.monotonic()
            ends = await asyncio.gather(*streams)
            assert time.monotonic() - start_s < 2
            for end in ends:
                error = json.loads(end.removeprefix("data: "))["error"]
                assert (error["type"], error["code"]) == ("server_error", "engine_restarting")
            refused = await whole
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_restarting")
            assert refused.headers["retry-after"]
            not_ready = await client.get("/ready")
            assert not_ready.status_code == 503
            assert (await client.get("/health")).status_code == 200
            while (await client.get("/ready")).status_code != 200:
                await asyncio.sleep(0.02)
            again = await client.post("/v1/completions", json={"prompt": "the cat"})
            assert again.json()["choices"][0]["text"] == "the cat"
            assert server.life.service.engine.num_restarts == 1
            assert "headway_engine_restarts_total 1.0" in (await client.get("/metrics")).text

    with running(model, SLOW) as server:
        asyncio.run(main(server))


def test_an_engine_that_dies_on_a_request_does_not_take_the_server_along(model: Path) -> None:
    with running(model) as server, httpx.Client(base_url=server.url) as client:
        answer = client.post("/v1/completions", json={"prompt": "x", "headway": {"tenant": "die"}})
        assert answer.status_code == 503
        until(lambda: client.get("/ready").status_code == 200)


def test_more_than_fits_is_told_to_come_back(model: Path) -> None:
    with running(model, SLOW, max_queue=4) as server, httpx.Client(base_url=server.url) as client:
        with client.stream("POST", "/v1/completions", json={**LONG, "n": 3, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            refused = client.post("/v1/completions", json={"prompt": "x", "n": 2})
            assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert client.post("/v1/completions", json={"prompt": "x", "max_tokens": 1}).status_code == 200
            assert "headway_live 3.0" in client.get("/metrics").text
        until(lambda: server.life.service.gate.live == 0)
        assert client.post("/v1/completions", json={"prompt": "x", "n": 4, "max_tokens": 1}).status_code == 200
        never = client.post("/v1/completions", json={"prompt": "x", "n": 5})
        assert (never.status_code, never.json()["error"]["param"]) == (400, "n")


def test_requests_that_take_too_long_are_given_up(model: Path, log: Path) -> None:
    with running(model, SLOW, {"trace": str(log)}, request_timeout_s=0.2) as server:
        with httpx.Client(base_url=server.url) as client:
            whole = client.post("/v1/completions", json=LONG)
            assert (whole.status_code, whole.json()["error"]["code"]) == (504, "request_timeout")
            stream = client.post("/v1/completions", json={**LONG, "stream": True})
            assert stream.status_code == 200
            assert json.loads(stream.text.strip().splitlines()[-1][6:])["error"]["code"] == "request_timeout"
        until(lambda: len(kinds(log, "Cancel")) == 2)


def test_before_the_engine_is_ready(model: Path) -> None:
    with running(model) as server, httpx.Client(base_url=server.url) as client:
        assert server.loading == ["reading nothing"]
        server.life.service.engine.ready = None
        for answer in (
            client.get("/ready"),
            client.get("/v1/models"),
            client.post("/v1/completions", json={"prompt": "x"}),
        ):
            assert answer.status_code == 503
        assert client.get("/health").status_code == 200


def test_an_engine_that_cannot_load_ends_the_server(model: Path) -> None:
    with pytest.raises(EngineError, match="no such weights"), running(model, {"fatal": "no such weights"}):
        pass


def test_a_taken_port_and_a_missing_tokenizer_are_said_at_once(model: Path, tmp_path: Path) -> None:
    with running(model) as server:
        taken = int(server.url.rsplit(":", 1)[1])
        other = Running(type(server.config)(engine=server.config.engine, port=taken))
        other.start(wait_s=0)
        other.stop()
        assert isinstance(other.failure, ConfigError)
        assert "listen" in str(other.failure)
    with pytest.raises(ConfigError, match="tokenizer"), running(tmp_path):
        pass


SCRIPT = """
import sys
from headway.app.server.config import ServerConfig
from headway.app.server.lifecycle import run_server
from headway.engines.llm.config import EngineConfig
engine = EngineConfig(model=sys.argv[1], name="parrot", policy_params={"step_s": 0.01})
config = ServerConfig(engine=engine, port=0, access_log="", drain_timeout_s=float(sys.argv[2]))
say = lambda ready, url: print(url, ready.pid, flush=True)
sys.exit(run_server(config, on_ready=say, command=sys.argv[3:]))
"""


class Process:
    """A server in a process of its own, as an operator has it."""

    def __init__(self, model: Path, drain_timeout_s: float) -> None:
        command = [sys.executable, "-c", SCRIPT, str(model), str(drain_timeout_s), *FAKE_ENGINE]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        self.url, pid = self.popen.stdout.readline().split()
        self.engine = psutil.Process(int(pid))

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def end(self) -> int:
        """Wait for its end and the engine's; returns its status."""
        status = self.popen.wait(timeout=10)
        self.engine.wait(timeout=5)
        return status


@contextmanager
def process(model: Path, drain_timeout_s: float = 20) -> Iterator[Process]:
    server = Process(model, drain_timeout_s)
    try:
        yield server
    finally:
        server.popen.kill()
        server.popen.wait()
        assert server.popen.stdout is not None
        server.popen.stdout.close()


def test_a_signal_drains_and_exits_with_zero(model: Path) -> None:
    with process(model) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        with client.stream("POST", "/v1/completions", json={**LONG, "max_tokens": 60, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.signal(signal.SIGINT)
            with httpx.Client(base_url=server.url) as other:
                until(lambda: other.get("/ready").status_code == 503)
                refused = other.post("/v1/completions", json={"prompt": "x"})
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
            events = [line for line in lines if line]
        assert events[-1] == "data: [DONE]"
        assert json.loads(events[-2][6:])["choices"][0]["finish_reason"] == "length"
        assert server.end() == 0


def test_draining_does_not_last_forever(model: Path) -> None:
    with process(model, drain_timeout_s=0.3) as server, httpx.Client(base_url=server.url) as client:
        with client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.signal(signal.SIGTERM)
            last = [line for line in lines if line][-1]
        assert json.loads(last[6:])["error"]["code"] == "shutting_down"
        assert server.end() == 0


def test_a_second_signal_ends_it_on_the_spot(model: Path) -> None:
    with process(model) as server, httpx.Client(base_url=server.url) as client:
        with client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as answer:
            assert answer.status_code == 200
            server.signal(signal.SIGINT)
            until(lambda: httpx.get(f"{server.url}/ready").status_code == 503)
            server.signal(signal.SIGINT)
            status = server.end()
        assert status == 128 + signal.SIGINT


def test_no_engine_outlives_its_server(model: Path) -> None:
    with process(model) as server:
        server.signal(signal.SIGKILL)
        assert server.end() == -signal.SIGKILL
