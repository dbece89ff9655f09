"""What scheduling costs: everything the engine does per step beside running the model and sampling.

A full engine (session, policy, board, stepper, wire to a socket) decodes for many requests at once on a model that
takes no time. The time of the model's place-holder and of sampling is taken off; the rest is scheduling. The same is
done by a *nano* loop, written here, that does the least a scheduler can do: first come first served, plain lists, no
policy, no objectives, no prefix cache.

    python benchmarks/scheduler_cost.py --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch

from headway.core import catalogue
from headway.core.clock import WallClock
from headway.core.session import Session
from headway.engines.llm.assembly import INSTANCE
from headway.engines.llm.loop.engine import CAN, LlmEngine
from headway.engines.llm.loop.hashing import BlockHasher
from headway.engines.llm.loop.intake import Intake
from headway.engines.llm.loop.stepping import Stepper
from headway.engines.llm.messages import Drain, Output, Outputs, Sampling, Submit
from headway.engines.llm.model.rows import Columns
from headway.engines.llm.model.slots import SlotTable
from headway.engines.llm.wire import Wire
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import InstanceState

POLICIES = {"serving/sarathi": "max_seqs", "serving/vllm": "max_seqs", "serving/orca": "max_batch_size"}
"""Policies, and how each names the most requests that run at once."""

BLOCK_SIZE = 16
VOCAB = 8
TOKEN = 5
WARM_STEPS = 20
BLOCKS_EACH = 260


class Facts(NamedTuple):
    """Of the place-holder of a model."""

    context_tokens: int = 4096
    vocab_size: int = VOCAB
    eos_ids: tuple[int, ...] = (0,)
    adapters: tuple[str, ...] = ()
    num_layers: int = 1


class Stopwatch:
    """Adds up, step by step, the time spent in some functions."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count the time of calls of ``owner.name`` to `part`."""
        inner: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            start_s = time.perf_counter()
            result = inner(*arguments)
            self.spent_s[part] = self.spent_s.get(part, 0.0) + time.perf_counter() - start_s
            return result

        setattr(owner, name, timed)

    def stand_in(self, owner: Any, **parts: str) -> Any:
        """Return what behaves like `owner`, whose methods cannot be replaced, and counts the time of some of them."""
        double = _Double(owner)
        for name, part in parts.items():
            self.watch(double, name, part)
        return double

    def take(self) -> dict[str, float]:
        """Return the sums since the last call, and begin again."""
        spent, self.spent_s = self.spent_s, {}
        return spent


class _Double:
    """Answers with what another object has."""

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = name == "_owner" or callable(value)
        object.__setattr__(self if own else self._owner, name, value)


class NoModel:
    """Keeps slots as the real runner does; computes nothing. Notes the time between steps."""

    def __init__(self, num_slots: int, api: socket.socket, num_steps: int, stopwatch: Stopwatch) -> None:
        self.table = SlotTable(num_slots, Facts().context_tokens, BLOCK_SIZE)
        self.append, self.set_blocks, self.close = self.table.append, self.table.set_blocks, self.table.close
        self.logits = torch.zeros(num_slots, VOCAB)
        self.logits[:, TOKEN] = 1.0
        self.steps: list[dict[str, float]] = []
        self._api = api
        self._num_slots = num_slots
        self._num_steps = num_steps
        self._stopwatch = stopwatch
        self._end_s = 0.0

    def open(self, prompt: list[int], adapter: str) -> int:  # noqa: ARG002 (a runner's signature)
        """Take a slot."""
        return self.table.open(prompt)

    def run(self, rows: Columns) -> torch.Tensor | None:
        """Note how long everything since the last step took, then make room on the wire."""
        begin_s = time.perf_counter()
        spent = self._stopwatch.take()
        if len(rows.slots) == self._num_slots:
            self.steps.append(spent | {"total": begin_s - self._end_s - spent.get("sampling", 0.0)})
        self._make_room()
        if len(self.steps) == self._num_steps:
            self._api.shutdown(socket.SHUT_RDWR)
        self._end_s = time.perf_counter()
        return self.logits[: len(rows.slots)]

    def _make_room(self) -> None:
        try:
            while self._api.recv(1 << 20):
                pass
        except BlockingIOError:
            pass


def submits(num_requests: int) -> list[Submit]:
    """Greedy requests that never end, with prompts of 100 to 160 tokens, no two alike."""
    rng = np.random.default_rng(0)
    sampling = Sampling(max_tokens=4000, temperature=0.0, ignore_eos=True)
    return [
        Submit(id=f"cmpl-{n:024x}", prompt=rng.integers(1, VOCAB, rng.integers(100, 160)).tolist(), sampling=sampling)
        for n in range(num_requests)
    ]


def measure(policy_id: str, num_requests: int, num_steps: int, parts: bool) -> list[dict[str, float]]:
    """Return the seconds that each step took, as a whole and (with `parts`) part by part."""
    stopwatch = Stopwatch()
    api, far = socket.socketpair()
    api.setblocking(False)
    runner = NoModel(num_requests, api, num_steps + WARM_STEPS, stopwatch)
    kv = BlockPool(num_requests * BLOCKS_EACH, BLOCK_SIZE)
    board: Any = ServingBoard([InstanceState(INSTANCE, kv, 1, num_requests)], CAN)
    if parts:
        board = stopwatch.stand_in(board, apply="apply", again="apply", advance="advance", end="advance")
    hasher = BlockHasher(BLOCK_SIZE, b"key")
    clock, facts, wire = WallClock(), Facts(), Wire.of_engine(far)
    stepper = Stepper(runner, board, clock, 1, hasher)
    engine = LlmEngine(board, stepper, Intake(facts, kv.num_blocks * BLOCK_SIZE, hasher), wire, clock)  # type: ignore[arg-type]
    policy = catalogue.build(policy_id, {POLICIES[policy_id]: num_requests} | _prompts_at_once(policy_id))
    session: Any = Session(policy, board, accounts=RequestAccounts())
    stopwatch.watch(stepper, "_sample", "sampling")
    if parts:
        session = stopwatch.stand_in(session, feed="decide")
        stopwatch.watch(stepper, "_line_up", "rows")
        stopwatch.watch(runner, "append", "rows")
        stopwatch.watch(stepper, "_news", "outputs")
        stopwatch.watch(wire, "send", "outputs")
    asyncio.run(_serve(engine, session, submits(num_requests), api, wire))
    return runner.steps[WARM_STEPS:]


def _prompts_at_once(policy_id: str) -> dict[str, int]:
    name = {"serving/sarathi": "token_budget", "serving/vllm": "max_batched_tokens"}.get(policy_id)
    return {name: 100_000} if name else {}


async def _serve(engine: LlmEngine, session: Any, sent: list[Submit], api: socket.socket, wire: Wire[Any]) -> None:
    from headway.core.drivers import serve

    serving = asyncio.ensure_future(serve(engine, session.policy, session=session))
    encoder = msgspec.msgpack.Encoder()
    for message in [*sent, Drain()]:
        frame = encoder.encode(message)
        data = len(frame).to_bytes(4, "big") + frame
        while data:
            try:
                data = data[api.send(data) :]
            except BlockingIOError:
                await asyncio.sleep(0)
    await serving
    wire.close()
    api.close()


class Nano:
    """The nano loop's request."""

    __slots__ = ("blocks", "id", "limit", "slot", "tokens")

    def __init__(self, submit: Submit, slot: int) -> None:
        self.id = submit.id
        self.slot = slot
        self.tokens = list(submit.prompt)
        self.blocks: list[int] = []
        self.limit = len(submit.prompt) + submit.sampling.max_tokens


def measure_nano(num_requests: int, num_steps: int) -> list[float]:
    """Return the seconds that each step of the nano loop took; its model takes none."""
    table = SlotTable(num_requests, Facts().context_tokens, BLOCK_SIZE)
    free = list(range(num_requests * BLOCKS_EACH))
    running = [Nano(submit, table.open(submit.prompt)) for submit in submits(num_requests)]
    for seq in running:
        seq.blocks = [free.pop() for _ in range(-(-len(seq.tokens) // BLOCK_SIZE))]
    encoder, frame, sampled = msgspec.msgpack.Encoder(), bytearray(), [TOKEN] * num_requests
    took_s = []
    for _ in range(num_steps + WARM_STEPS):
        start_s = time.perf_counter()
        slots, starts = [], []
        for seq in running:
            length = len(seq.tokens)
            if length > len(seq.blocks) * BLOCK_SIZE:
                seq.blocks.append(free.pop())
                table.set_blocks(seq.slot, seq.blocks)
            slots.append(seq.slot)
            starts.append(length - 1)
        where = np.array(slots)
        Columns(where, np.array(starts), np.ones(len(slots), np.int64))
        news, ended = [], []
        for seq, token in zip(running, sampled, strict=True):
            seq.tokens.append(token)
            if token == 0 or len(seq.tokens) >= seq.limit:
                ended.append(seq)
            news.append(Output(id=seq.id, tokens=[token]))
        table.append(where, sampled)
        encoder.encode_into(Outputs(items=news), frame)
        if ended:
            running = [seq for seq in running if seq not in ended]
        took_s.append(time.perf_counter() - start_s)
    return took_s[WARM_STEPS:]


def compare(sizes: Sequence[int], num_steps: int, rounds: int) -> dict[str, Any]:
    """Measure every policy and the nano loop, interleaved, and return medians in microseconds."""
    totals: dict[tuple[str, int], list[float]] = {}
    parts: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for size in sizes:
            totals.setdefault(("nano", size), []).extend(measure_nano(size, num_steps))
            for policy_id in POLICIES:
                steps = measure(policy_id, size, num_steps, parts=False)
                totals.setdefault((policy_id, size), []).extend(step["total"] for step in steps)
                parts.setdefault((policy_id, size), []).extend(measure(policy_id, size, num_steps, parts=True))
    return {
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "num_steps": num_steps * rounds,
        "results": [_row(key, took_s, totals["nano", key[1]], parts.get(key, [])) for key, took_s in totals.items()],
    }


def _row(
    key: tuple[str, int], took_s: list[float], nano_s: list[float], parts: list[dict[str, float]]
) -> dict[str, Any]:
    name, size = key
    step_us = statistics.median(took_s) * 1e6
    split = {
        part: round(statistics.median(step.get(part, 0.0) for step in parts) * 1e6, 2)
        for part in ("decide", "apply", "advance", "rows", "outputs")
        if parts
    }
    return {
        "policy": name,
        "running": size,
        "step_us": round(step_us, 2),
        "per_request_us": round(step_us / size, 3),
        "ratio_to_nano": round(step_us / (statistics.median(nano_s) * 1e6), 2),
        "parts_us": split,
    }


def main() -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256], help="requests that run at once")
    parser.add_argument("--steps", type=int, default=300, help="steps per round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; all measurements take turns in each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    found = compare(arguments.sizes, arguments.steps, arguments.rounds)
    if arguments.json:
        print(json.dumps(found))
        return 0
    for row in found["results"]:
        print(
            f"{row['policy']:<16} {row['running']:>4} running: {row['step_us']:>8.1f} us per step, "
            f"{row['per_request_us']:.3f} us per request, {row['ratio_to_nano']:.2f} x nano  {row['parts_us']}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
