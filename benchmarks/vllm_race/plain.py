"""The plain workload: no promises, always 64 requests at once; what hosting a policy costs in tokens per second."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from headway.app.bench.answer import Answer
from headway.app.bench.client import Client
from headway.app.bench.target import Target
from headway.app.studies.statistics import interval
from vllm_race.contenders import BASELINE, contender
from vllm_race.ledger import Ledger, Row
from vllm_race.model import MAX_SEQS
from vllm_race.server import Garage
from vllm_race.watch import Watch
from vllm_race.workload import FIRST_TOKEN, LAST_TOKEN

NAMES = (BASELINE, "serving/vllm-v1", "serving/sarathi", "serving/headway")
PROMPT_TOKENS, OUTPUT_TOKENS = 128, 128
BAR = 0.97


def run(garage: Garage, ledger: Ledger, names: Sequence[str], num_rounds: int, num_requests: int) -> dict[str, Any]:
    """Run the rounds: in each every contender has its turn, and another one goes first."""
    for number in range(num_rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            if not ledger.has("plain", name, number):
                garage.have([contender(each) for each in names])
            ledger.get(("plain", name, number), partial(_lap, garage, name, number, num_requests))
    return summary({name: ledger.rows("plain", name)[:num_rounds] for name in names})


def summary(rounds: dict[str, list[Row]]) -> dict[str, Any]:
    """Hold every contender against vLLM's own scheduler, within each round."""
    base = [row["tokens_per_s"] for row in rounds[BASELINE]]
    found: dict[str, Any] = {}
    for name, rows in rounds.items():
        speeds = [row["tokens_per_s"] for row in rows]
        ratios = [speed / other for speed, other in zip(speeds, base, strict=True)]
        ends = interval(ratios)
        found[name] = {
            "tokens_per_s": statistics.median(speeds),
            "ratio": statistics.median(ratios),
            "low": ends.low,
            "high": ends.high,
            "met": statistics.median(ratios) >= BAR,
            "rounds": rows,
        }
    return found


def _lap(garage: Garage, name: str, number: int, num_requests: int) -> Row:
    server = garage.servers[name]
    if not server.is_warm:
        asyncio.run(_closed_loop(server.url, MAX_SEQS, 32, 32, seed=1_000_000))
        server.is_warm = True
    watch = Watch(garage.groups)
    start_s = time.perf_counter()
    answers = asyncio.run(_closed_loop(server.url, num_requests, PROMPT_TOKENS, OUTPUT_TOKENS, seed=number))
    took_s = time.perf_counter() - start_s
    failed = [answer.error for answer in answers if answer.error or answer.output_tokens != OUTPUT_TOKENS]
    if failed:
        raise RuntimeError(f"{server.contender.name}: {len(failed)} requests were not served, such as: {failed[0]}")
    return {
        "tokens_per_s": num_requests * OUTPUT_TOKENS / took_s,
        "took_s": took_s,
        **watch.found(),
        **server.faults(),
    }


async def _closed_loop(url: str, num: int, prompt_tokens: int, output_tokens: int, seed: int) -> list[Answer]:
    client, places = Client(Target(base_url=url)), asyncio.Semaphore(MAX_SEQS)
    answers = [Answer(id=str(number), planned_s=0.0) for number in range(num)]
    dice = np.random.default_rng([seed, time.time_ns()])  # no run finds the prompts of another in a cache
    bodies = [_body(dice.integers(FIRST_TOKEN, LAST_TOKEN, prompt_tokens).tolist(), output_tokens) for _ in answers]

    async def one(body: bytes, answer: Answer) -> None:
        async with places:
            await client.send(body, answer, 0.0)

    await asyncio.gather(*(one(body, answer) for body, answer in zip(bodies, answers, strict=True)))
    await client.close()
    return answers


def _body(prompt: list[int], output_tokens: int) -> bytes:
    """Return the JSON of a request; its answer comes in few pieces, so that HTTP is not what is measured."""
    fields: dict[str, Any] = {
        "model": "race", "prompt": prompt, "stream": True, "stream_options": {"include_usage": True},
        "stream_interval": output_tokens, "temperature": 0, "ignore_eos": True, "max_tokens": output_tokens,
    }  # fmt: skip
    return msgspec.json.encode(fields)
