"""What is promised: multiples of what an idle server takes, the same as in the recipe on its A100.

The recipe promises chats, code and summaries their first token within 10.9, 10.0 and 11.9 times what its idle A100
takes for the prompt in the middle of the class, and agents within 3.7 times, for most of their prompts is cached; and
tokens every 7.0 (chat, summary) and 3.5 (code, agent) times what a batch of eight takes. The rule is older than any
result.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from headway.app.bench.answer import Answer
from headway.app.bench.client import Client
from headway.app.bench.target import Target
from vllm_race.server import Server
from vllm_race.workload import FIRST_TOKEN, LAST_TOKEN

TTFT_TIMES = {"chat": 10.9, "code": 10.0, "summary": 11.9, "agent": 3.7}
TPOT_TIMES = {"chat": 7.0, "code": 3.5, "summary": 7.0, "agent": 3.5}
MIDDLE_PROMPT_TOKENS = {"chat": 129, "code": 152, "summary": 950, "agent": 413}
"""Medians of the recipe's classes, divided by eight."""
BATCH = 8
NUM_TRIES = 5


class Bounds(Struct, frozen=True, kw_only=True):
    """Of one class, in seconds: time to first token, and mean time per token after it."""

    ttft_s: float
    tpot_s: float


class Idle(Struct, frozen=True, kw_only=True):
    """What an idle server takes, in seconds: for the first token by class, and per token in a batch of eight."""

    ttft_s: dict[str, float]
    tpot_s: float

    def bounds(self) -> dict[str, Bounds]:
        """Return what is promised to each class."""
        return {
            name: Bounds(ttft_s=times * self.ttft_s[name], tpot_s=TPOT_TIMES[name] * self.tpot_s)
            for name, times in TTFT_TIMES.items()
        }


def measure(server: Server) -> Idle:
    """Ask an idle server, one prompt after the other, then eight at once."""
    return asyncio.run(_measure(server.url))


async def _measure(url: str) -> Idle:
    client = Client(Target(base_url=url))
    await _ask(client, [16], 8)  # whatever the first request pays for
    ttft_s = {
        name: statistics.median([(await _ask(client, [tokens], 1))[0].ttft_s for _ in range(NUM_TRIES)])
        for name, tokens in MIDDLE_PROMPT_TOKENS.items()
    }
    batches = [await _ask(client, [MIDDLE_PROMPT_TOKENS["chat"]] * BATCH, 33) for _ in range(NUM_TRIES)]
    await client.close()
    return Idle(ttft_s=ttft_s, tpot_s=statistics.median(_gap_s(answers) for answers in batches))


def _gap_s(answers: Sequence[Answer]) -> float:
    """Return the time between tokens while all of a batch are decoded."""
    return statistics.median(gap_s for answer in answers for gap_s in answer.itls_s)


_DICE = np.random.default_rng()


async def _ask(client: Client, prompts: Sequence[int], output_tokens: int) -> list[Answer]:
    answers = [Answer(id="idle", planned_s=0.0) for _ in prompts]
    bodies = [_body(num, output_tokens) for num in prompts]
    sends = (client.send(body, answer, 0.0) for body, answer in zip(bodies, answers, strict=True))
    await asyncio.gather(*sends)
    failed = next((answer.error for answer in answers if answer.error), "")
    if failed:
        raise RuntimeError(f"an idle server did not answer: {failed}")
    return answers


def _body(prompt_tokens: int, output_tokens: int) -> bytes:
    fields: dict[str, Any] = {
        "model": "race", "prompt": _DICE.integers(FIRST_TOKEN, LAST_TOKEN, prompt_tokens).tolist(), "stream": True,
        "stream_options": {"include_usage": True}, "temperature": 0, "ignore_eos": True, "max_tokens": output_tokens,
    }  # fmt: skip
    return msgspec.json.encode(fields)
