"""How much processor time the API process takes per streamed token, and what it adds to the time to first token.

The engine is a process that repeats its prompt at a fixed pace, so everything measured is the way through the API
process: wire, detokenising, server-sent events, HTTP. Two servers without any of that stand beside it, at that pace:

- ``dumps``: starlette's `StreamingResponse`, one `json.dumps` per token;
- ``bytes``: the same with constant bytes, the least that this HTTP stack can do.

A third run offers 6,400 tokens/s while the engine burns a core of its own, and counts what arrives by the clock; tokens
that the API process finds together count once.

Tokens per second *per core* are tokens by processor seconds of the API process. The overhead on the time to first token
is the difference of two medians, taken in turns: through HTTP, and at the engine's socket.

    python benchmarks/streaming.py [--json] [--streams N] [--tokens N] [--step-ms MS] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil

from headway.app.server import ServerConfig
from headway.engines.llm.client import EngineClient
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import Output, Sampling, Submit

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "src/headway/engines/llm/shipped/headway-mini"
FAKE_ENGINE = (sys.executable, str(ROOT / "tests/app/server/fake_engine.py"))
PREFILL_S = 0.02
BUSY_STREAMS, BUSY_STEP_S = 64, 0.01
PROMPT = list(range(300, 364))
GOAL_TOKENS_PER_CORE_S = 2000
GOAL_OVERHEAD_S = 0.005


def engine_config(step_s: float, prefill_s: float, spin: bool = False) -> EngineConfig:
    """An engine that repeats prompts at a fixed pace, asleep or busy during its steps."""
    manners = {"step_s": step_s, "prefill_s": prefill_s, "vocab_size": 4096, "spin": spin}
    return EngineConfig(model=str(MODEL), name="parrot", policy_params=manners)


# The servers, each in a process of its own ---------------------------------------------------------------------------


def serve_ours(step_s: float, prefill_s: float, spin: bool) -> None:
    """Serve as users do, with the fake engine."""
    from headway.app.server.lifecycle import run_server

    config = ServerConfig(engine=engine_config(step_s, prefill_s, spin), port=0, access_log="")
    run_server(config, on_ready=lambda _, url: print(url, flush=True), command=FAKE_ENGINE)


def serve_plain(kind: str, step_s: float) -> None:
    """Serve a starlette application that knows nothing of engines."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    chunk = {
        "id": "cmpl-0123456789abcdef0123456789abcdef", "object": "text_completion", "created": 1700000000,
        "model": "parrot", "service_tier": "default", "system_fingerprint": "fp_0123456789",
        "choices": [{"index": 0, "text": " word", "logprobs": None, "finish_reason": None}],
    }  # fmt: skip
    constant = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"

    async def events(num: int) -> AsyncIterator[bytes]:
        start_s = time.perf_counter()
        for index in range(1, num + 1):
            await asyncio.sleep(max(0.0, start_s + index * step_s - time.perf_counter()))
            if kind == "bytes":
                yield constant
            else:
                fresh = {**chunk, "choices": [{**chunk["choices"][0], "text": f" word{index}"}]}  # type: ignore[dict-item]
                yield b"data: " + json.dumps(fresh).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    async def complete(request: Request) -> Response:
        body = await request.json()
        return StreamingResponse(events(body["max_tokens"]), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/completions", complete, methods=["POST"])])
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off", log_level="warning")
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


class Served:
    """One of the servers, for the length of a `with` block."""

    def __init__(self, kind: str, step_s: float, prefill_s: float = 0.0) -> None:
        command = [sys.executable, __file__, "--as", kind, "--step-ms", str(1e3 * step_s)]
        command += ["--prefill-ms", str(1e3 * prefill_s)]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._popen.stdout is not None
        self.port = int(self._popen.stdout.readline().rsplit(":", 1)[1])
        self.process = psutil.Process(self._popen.pid)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.terminate()
        self._popen.wait()

    @property
    def cpu_s(self) -> float:
        """Processor seconds of the API process so far."""
        times = self.process.cpu_times()
        return times.user + times.system


# The clients ---------------------------------------------------------------------------------------------------------


async def stream(port: int, max_tokens: int) -> tuple[int, float]:
    """Ask for one stream and read it to its end; returns the number of tokens and the time to the first."""
    fields = {"prompt": PROMPT, "max_tokens": max_tokens, "ignore_eos": True, "stream": True}
    body = json.dumps(fields).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start_s = time.perf_counter()
    writer.write(head + body)
    first_s, num, rest = 0.0, 0, b""
    while b"data: [DONE]" not in rest:
        data = await reader.read(1 << 16)
        if not data:
            raise RuntimeError(f"the stream broke off after {rest!r}")
        if not first_s and b"data: " in data:
            first_s = time.perf_counter() - start_s
        rest = rest[-20:] + data
        num += data.count(b'"finish_reason"')
    writer.close()
    return num, first_s


class First:
    """A sink that notes when the first token came."""

    def __init__(self) -> None:
        self.here = asyncio.Event()

    def push(self, output: Output) -> None:
        """Take news."""
        if output.tokens:
            self.here.set()

    def fail(self, error: Exception) -> None:
        """Give up waiting: the benchmark is over."""
        del error
        self.here.set()


async def first_at_socket(engine: EngineClient, number: int, max_tokens: int = 1) -> float:
    """Time to the first token without the API process's HTTP side."""
    sink = First()
    start_s = time.perf_counter()
    sampling = Sampling(max_tokens=max_tokens, ignore_eos=True)
    engine.submit(Submit(id=str(number), prompt=PROMPT, sampling=sampling), sink)
    await sink.here.wait()
    return time.perf_counter() - start_s


# The measurements ----------------------------------------------------------------------------------------------------


def throughput(kind: str, num_streams: int, tokens: int, step_s: float) -> dict[str, float]:
    """Stream to many clients at the engine's pace and charge the API process's processor time."""

    async def main() -> tuple[int, float, float]:
        with Served(kind, step_s) as served:
            await stream(served.port, 4)  # warm
            cpu_s, start_s = served.cpu_s, time.perf_counter()
            counts = await asyncio.gather(*[stream(served.port, tokens) for _ in range(num_streams)])
            return sum(num for num, _ in counts), served.cpu_s - cpu_s, time.perf_counter() - start_s

    num, cpu_s, wall_s = asyncio.run(main())
    if kind != "busy" and num < 0.99 * num_streams * tokens:
        raise RuntimeError(f"{num_streams * tokens} tokens must arrive one by one, got {num} events.")
    return {"tokens_per_core_s": num / cpu_s, "tokens_per_s": num / wall_s, "busy_frac": cpu_s / wall_s}


def overhead(num: int, num_background: int, step_s: float) -> dict[str, float]:
    """Compare the time to first token through HTTP with that at the engine's socket, in turns."""

    async def main() -> tuple[list[float], list[float]]:
        engine = EngineClient(engine_config(step_s, PREFILL_S), command=FAKE_ENGINE)
        with Served("ours", step_s, PREFILL_S) as served:
            await engine.start()
            others = [asyncio.create_task(stream(served.port, 1900)) for _ in range(num_background)]
            await asyncio.gather(*[first_at_socket(engine, -1 - number, 1900) for number in range(num_background)])
            await asyncio.sleep(1.0 if others else 0.1)
            through, direct = [], []
            for number in range(num):
                through.append((await stream(served.port, 1))[1])
                direct.append(await first_at_socket(engine, number))
            for other in others:
                other.cancel()
            await engine.close()
            return through, direct

    through, direct = (statistics.median(times) for times in asyncio.run(main()))
    return {"through_http_s": through, "at_socket_s": direct, "overhead_s": through - direct}


def measure(num_streams: int, tokens: int, step_s: float, rounds: int) -> dict[str, Any]:
    """Everything, in interleaved rounds; medians."""
    seen: dict[str, list[dict[str, float]]] = {"ours": [], "dumps": [], "bytes": []}
    for _ in range(rounds):
        for kind, results in seen.items():
            results.append(throughput(kind, num_streams, tokens, step_s))
    middle = {
        kind: {name: statistics.median(r[name] for r in results) for name in results[0]}
        for kind, results in seen.items()
    }
    per_core = {kind: numbers["tokens_per_core_s"] for kind, numbers in middle.items()}
    beside = throughput("busy", BUSY_STREAMS, 2 * tokens, BUSY_STEP_S)
    idle, busy = overhead(100, 0, 0.0005), overhead(60, 8, 0.005)
    return {
        "num_streams": num_streams,
        "step_s": step_s,
        "streaming": middle,
        "ratio_to_dumps": per_core["ours"] / per_core["dumps"],
        "ratio_to_bytes": per_core["ours"] / per_core["bytes"],
        "beside_a_busy_engine": {"offered_per_s": BUSY_STREAMS / BUSY_STEP_S, **beside},
        "ttft_idle": idle,
        "ttft_beside_8_streams": busy,
        "goals_met": {
            "tokens_per_core_s": per_core["ours"] >= GOAL_TOKENS_PER_CORE_S,
            "tokens_per_s_beside_a_busy_engine": beside["tokens_per_s"] >= GOAL_TOKENS_PER_CORE_S,
            "overhead_s": idle["overhead_s"] < GOAL_OVERHEAD_S,
        },
    }


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--step-ms", type=float, default=20.0)
    parser.add_argument("--prefill-ms", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as", dest="kind", choices=["ours", "busy", "dumps", "bytes"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    step_s = args.step_ms / 1e3
    if args.kind in ("ours", "busy"):
        serve_ours(step_s, args.prefill_ms / 1e3, args.kind == "busy")
    elif args.kind:
        serve_plain(args.kind, step_s)
    else:
        found = measure(args.streams, args.tokens, step_s, args.rounds)
        print(json.dumps(found, indent=None if args.json else 2))


if __name__ == "__main__":
    main()
