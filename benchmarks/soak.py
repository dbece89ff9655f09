"""Does the server stay well under many clients, of whom some leave, some are rude and some are wrong?

Starts a server with the shipped model, sends it a random mixture of requests from many clients at once, and checks the
status of every answer, that the memory of both processes stays flat, and that nothing is left behind at the end.

    python benchmarks/soak.py [--requests 2000] [--clients 64] [--seed 0] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx
import psutil

import headway.engines.llm
from headway.app.server import ServerConfig
from headway.engines.llm.config import EngineConfig

MODEL = f"{headway.engines.llm.__path__[0]}/shipped/headway-mini"
MAX_BODY_BYTES = 1 << 16
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
    "additionalProperties": False,
}
TEXT = "Once upon a time there was a little dog who lived by the river and wanted to see the sea"
CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"


def serve(max_queue: int) -> None:
    """Be the server."""
    from headway.app.server.lifecycle import run_server

    engine = EngineConfig(model=MODEL, name="headway-mini", kv_bytes=24 << 20, max_seqs=32)
    config = ServerConfig(engine=engine, port=0, access_log="", max_queue=max_queue, max_body_bytes=MAX_BODY_BYTES)
    run_server(config, on_ready=lambda ready, url: print(url, ready.pid, flush=True))


class Wrong(Exception):
    """An answer that is not as it must be."""


class Client:
    """Sends one random request after the other and checks the answers.

    Parameters
    ----------
    http : httpx.AsyncClient
        Connected to the server.
    rng : random.Random
        The dice.
    """

    def __init__(self, http: httpx.AsyncClient, rng: random.Random) -> None:
        self.http = http
        self.rng = rng
        self.kinds: dict[Callable[[], Awaitable[int]], int] = {
            self.whole: 20, self.stream: 25, self.several: 5, self.scored: 4, self.structured: 4, self.stopped: 5,
            self.leave: 12, self.cancel: 8, self.oversize: 3, self.no_json: 4, self.bad_parameter: 5, self.no_model: 2,
            self.no_path: 2, self.too_long: 2,
        }  # fmt: skip

    async def one(self) -> tuple[str, int]:
        """Send one request; returns its kind and its status, 0 when we left first."""
        kind = self.rng.choices(list(self.kinds), list(self.kinds.values()))[0]
        return getattr(kind, "__name__", ""), await kind()

    def body(self, **fields: Any) -> tuple[str, dict[str, Any]]:
        """A valid request of random length."""
        words = TEXT.split()
        text = " ".join(self.rng.choices(words, k=self.rng.randint(1, 200)))
        body: dict[str, Any] = {"max_tokens": self.rng.randint(1, 64), "temperature": self.rng.choice([0, 0.7, 1.0])}
        body["service_tier"] = self.rng.choice(["auto", "interactive", "batch"])
        if self.rng.random() < 0.5:
            return CHAT, {"messages": [{"role": "user", "content": text}], **body, **fields}
        return PLAIN, {"prompt": text, **body, **fields}

    async def post(self, path: str, body: Any, *, expect: int) -> httpx.Response:
        """Send and check the status; a full queue may always say so."""
        answer = await self.http.post(path, json=body)
        if answer.status_code == 429:
            _check(int(answer.headers["retry-after"]) >= 1, "a 429 must say when to come back", answer.text)
        else:
            _check(answer.status_code == expect, f"the status must be {expect}", f"{answer.status_code} {answer.text}")
        if answer.status_code >= 400:
            _check(bool(answer.json()["error"]["message"]), "an error must have a message", answer.text)
        return answer

    async def whole(self) -> int:
        """A request answered in one piece."""
        path, body = self.body()
        answer = await self.post(path, body, expect=200)
        if answer.status_code == 200:
            made = answer.json()
            _check(1 <= made["usage"]["completion_tokens"] <= body["max_tokens"], "tokens must be counted", made)
            _check(made["choices"][0]["finish_reason"] in ("stop", "length"), "a choice must end", made)
        return answer.status_code

    async def stream(self) -> int:
        """A request answered as a stream, read to its end."""
        path, body = self.body(stream=True)
        async with self.http.stream("POST", path, json=body) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        if answer.status_code == 429:
            return 429
        _check(answer.status_code == 200 and lines[-1] == "data: [DONE]", "a stream must be complete", lines[-1])
        finishes = [json.loads(line[6:])["choices"][0]["finish_reason"] for line in lines[:-1]]
        _check(finishes[-1] in ("stop", "length") and not any(finishes[:-1]), "a stream must end once", finishes)
        return 200

    async def several(self) -> int:
        """Several outputs at once."""
        path, body = self.body(n=3)
        answer = await self.post(path, body, expect=200)
        if answer.status_code == 200:
            _check(len(answer.json()["choices"]) == 3, "there must be three choices", answer.text)
        return answer.status_code

    async def scored(self) -> int:
        """Log-probabilities."""
        body = {"prompt": TEXT, "max_tokens": 8, "logprobs": 2, "ignore_eos": True}
        answer = await self.post(PLAIN, body, expect=200)
        if answer.status_code == 200:
            scores = answer.json()["choices"][0]["logprobs"]
            _check(len(scores["tokens"]) == 8, "every token must have its score", scores)
        return answer.status_code

    async def structured(self) -> int:
        """Structured output."""
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        body = {"prompt": TEXT, "max_tokens": 200, "response_format": wanted}
        answer = await self.post(PLAIN, body, expect=200)
        if answer.status_code == 200 and (choice := answer.json()["choices"][0])["finish_reason"] == "stop":
            _check(isinstance(json.loads(choice["text"])["age"], int), "the schema must be kept", choice)
        return answer.status_code

    async def stopped(self) -> int:
        """A stop string."""
        path, body = self.body(stop=[" the", "e"])
        answer = await self.post(path, body, expect=200)
        if answer.status_code == 200:
            choice = answer.json()["choices"][0]
            text = choice["text"] if path == PLAIN else choice["message"]["content"]
            _check("e" not in text and " the" not in text, "the text must end before the stop string", text)
        return answer.status_code

    async def leave(self) -> int:
        """Stop reading a stream in the middle."""
        path, body = self.body(stream=True, max_tokens=1000, ignore_eos=True)
        left = self.rng.randint(1, 30)
        async with self.http.stream("POST", path, json=body) as answer:
            if answer.status_code == 429:
                return 429
            _check(answer.status_code == 200, "the status must be 200", answer.status_code)
            async for _ in answer.aiter_lines():
                left -= 1
                if not left:
                    break
        return 0

    async def cancel(self) -> int:
        """Go away while waiting for an answer in one piece."""
        path, body = self.body(max_tokens=1000, ignore_eos=True)
        try:
            async with asyncio.timeout(self.rng.uniform(0.01, 0.5)):
                return (await self.post(path, body, expect=200)).status_code
        except TimeoutError:
            return 0

    async def oversize(self) -> int:
        """A body that is too long, announced or not."""
        data = b"x" * (MAX_BODY_BYTES + 1)

        async def drops() -> Any:
            for start in range(0, len(data), 4096):
                yield data[start : start + 4096]

        answer = await self.http.post(PLAIN, content=data if self.rng.random() < 0.5 else drops())
        _check(answer.status_code in (413, 429), "the status must be 413", answer.text)
        return answer.status_code

    async def no_json(self) -> int:
        """A body that is no JSON."""
        data = self.rng.choice([b"", b"{", b"[1, 2", b"\xff\x00", b'{"prompt": "x"', b"null", bytes(1000)])
        answer = await self.http.post(self.rng.choice([CHAT, PLAIN]), content=data)
        _check(answer.status_code in (400, 429), "the status must be 400", answer.text)
        return answer.status_code

    async def bad_parameter(self) -> int:
        """A parameter that is wrong."""
        bad: list[dict[str, Any]] = [
            {"temperature": 7}, {"top_p": -1}, {"n": 0}, {"foo": 1}, {"stop": 5}, {"service_tier": "gold"},
            {"max_tokens": -5}, {"logit_bias": {"a": 1}}, {"headway": {"ttft_s": -1}}, {"n": 1000},
        ]  # fmt: skip
        path, body = self.body(**self.rng.choice(bad))
        return (await self.post(path, body, expect=400)).status_code

    async def no_model(self) -> int:
        """A model that is not here."""
        path, body = self.body(model="gpt-9")
        return (await self.post(path, body, expect=404)).status_code

    async def no_path(self) -> int:
        """A path or a method that is not here."""
        answer = await self.http.get(self.rng.choice(["/v1/nothing", CHAT]))
        _check(answer.status_code in (404, 405), "the status must be 404 or 405", answer.text)
        return answer.status_code

    async def too_long(self) -> int:
        """A prompt that is longer than the context."""
        return (await self.post(PLAIN, {"prompt": [5] * 3000}, expect=400)).status_code


class Soak:
    """The whole run.

    Parameters
    ----------
    url : str
        Of the server.
    pids : sequence of int
        Of the API process and the engine process.
    num_requests, num_clients, seed : int
        How many, how many at once, and the dice.
    """

    def __init__(self, url: str, pids: list[int], num_requests: int, num_clients: int, seed: int) -> None:
        self.url = url
        self.processes = [psutil.Process(pid) for pid in pids]
        self.num_requests = num_requests
        self.num_clients = num_clients
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.rss_bytes: list[list[int]] = [[], []]
        self._left = num_requests

    async def run(self) -> dict[str, Any]:
        """Send everything; returns the findings."""
        limits = httpx.Limits(max_connections=2 * self.num_clients)
        async with httpx.AsyncClient(base_url=self.url, timeout=120, limits=limits) as http:
            start_s = time.monotonic()
            await asyncio.gather(*[self._client(http, number) for number in range(self.num_clients)])
            took_s = time.monotonic() - start_s
            left_over = await self._left_over(http)
        growth = [self._growth(samples) for samples in self.rss_bytes]
        flat = all(abs(grown) <= 0.05 for grown in growth)
        return {
            "ok": not self.wrong and flat and not any(left_over.values()),
            "num_requests": sum(self.counts.values()),
            "num_clients": self.num_clients,
            "took_s": round(took_s, 1),
            "counts": dict(sorted(self.counts.items())),
            "wrong": self.wrong[:20],
            "num_wrong": len(self.wrong),
            "rss_growth_frac": {"api": growth[0], "engine": growth[1]},
            "rss_bytes": {"api": self.rss_bytes[0][-1], "engine": self.rss_bytes[1][-1]},
            "left_over": left_over,
        }

    async def _client(self, http: httpx.AsyncClient, number: int) -> None:
        client = Client(http, random.Random(f"{self.seed}/{number}"))
        while self._left > 0:
            self._left -= 1
            try:
                kind, status = await client.one()
                self.counts[f"{kind} {status or 'left'}"] += 1
                if status == 429:
                    await asyncio.sleep(client.rng.uniform(0.05, 0.2))
            except (Wrong, httpx.HTTPError) as error:
                self.counts["wrong"] += 1
                self.wrong.append(f"{type(error).__name__}: {error}")
            for samples, process in zip(self.rss_bytes, self.processes, strict=True):
                samples.append(process.memory_info().rss)

    async def _left_over(self, http: httpx.AsyncClient) -> dict[str, float]:
        """What the server still holds, as soon as it holds nothing or after ten seconds."""
        found: dict[str, float] = {}
        for _ in range(100):
            lines = (await http.get("/metrics")).text.splitlines()
            values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("headway_") and "{" not in line)
            names = ("headway_live", "headway_running", "headway_waiting", "headway_kv_used_frac")
            found = {name: float(values[name]) for name in names}
            if not any(found.values()):
                break
            await asyncio.sleep(0.1)
        return found

    def _growth(self, samples: list[int]) -> float:
        """Growth from the second to the last quarter."""
        quarter = max(1, len(samples) // 4)
        before = statistics.mean(samples[quarter : 2 * quarter])
        return round(statistics.mean(samples[-quarter:]) / before - 1, 4)


def _check(holds: bool, rule: str, found: object) -> None:
    if not holds:
        raise Wrong(f"{rule}, got {str(found)[:300]}")


def soak(num_requests: int, num_clients: int, seed: int) -> dict[str, Any]:
    """Start a server, soak it, and stop it; the findings say `ok` when everything was as it must be."""
    command = [sys.executable, __file__, "--serve", str(num_clients)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url, engine_pid = server.stdout.readline().split()
            found = asyncio.run(Soak(url, [server.pid, int(engine_pid)], num_requests, num_clients, seed).run())
        finally:
            server.terminate()
        found["exit_status"] = server.wait()
    found["ok"] = found["ok"] and found["exit_status"] == 0
    return found


def main() -> int:
    """Read the command line, soak, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return 0
    found = soak(args.requests, args.clients, args.seed)
    print(json.dumps(found, indent=None if args.json else 2))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
