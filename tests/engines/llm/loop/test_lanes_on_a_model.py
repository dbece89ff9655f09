"""Steps side by side on tiny real models: greedy tokens are those of `transformers`, whatever runs at the same time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.llm.loop.fakes import Bench, FakeLine, submit
from engines.llm.loop.test_engine_on_a_model import SHARED, generated
from engines.llm.model.driving import BLOCK_SIZE, make_runner
from engines.llm.model.models import save_model
from headway.engines.llm.loop.ports import ModelRunner
from headway.engines.llm.messages import Cancel, Drain
from headway.engines.llm.model.runner import Runner
from headway.policies.serving.semi_pd import SemiPd
from headway.policies.serving.stack import Stack

HALVES = {"prefill_share": 0.5, "decode_share": 0.5, "window": 0}
PROMPTS = [SHARED[: 5 * n + 8] if n % 2 else [3 + (n * 31 + k * 17) % 290 for k in range(40)] for n in range(7)]
REQUESTS = [submit(f"r{n}", prompt, max_tokens=24, ignore_eos=True) for n, prompt in enumerate(PROMPTS)]


class Watched:
    """A runner that notes how many steps run at the same time, and with how many threads each."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._num_now = self.most_at_once = 0
        self.num_threads: set[int] = set()
        self.open, self.append, self.set_blocks = runner.open, runner.append, runner.set_blocks
        self.close = runner.close

    def run(self, rows: Any) -> Any:
        with self._lock:
            self._num_now += 1
            self.most_at_once = max(self.most_at_once, self._num_now)
        self.num_threads.add(torch.get_num_threads())
        logits = self._runner.run(rows)
        with self._lock:
            self._num_now -= 1
        return logits


@pytest.fixture(scope="module", params=["torch", "native"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, Any]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    theirs = save_model("llama", folder)
    return make_runner(folder, native=request.param == "native"), theirs


def serve(runner: Runner, seat: SemiPd, num_blocks: int, cancelled: str = "") -> tuple[Bench, Watched]:
    watched = Watched(runner)
    port: ModelRunner = watched

    async def go() -> Bench:
        line = FakeLine()
        bench = Bench(port, line, runner.facts, num_blocks, BLOCK_SIZE)  # type: ignore[arg-type]
        line.give(*REQUESTS[:3])
        serving = asyncio.ensure_future(bench.serve(Stack(batch=seat)))
        for request in REQUESTS[3:]:
            steps = bench.engine.num_steps
            while bench.engine.num_steps < steps + 4 and bench.stepper.lives:
                await asyncio.sleep(0)
            line.give(request)
        if cancelled:
            line.give(Cancel(id=cancelled, reason="cancelled"))
        line.give(Drain())
        await serving
        return bench

    return asyncio.run(asyncio.wait_for(go(), 60)), watched


@pytest.mark.parametrize("num_blocks", [14, 64])  # several preemptions, and none
@pytest.mark.parametrize("shares", [{}, HALVES], ids=["competing", "halves"])
def test_tokens_are_those_of_one_lane(model: tuple[Runner, Any], num_blocks: int, shares: dict[str, Any]) -> None:
    runner, theirs = model
    bench, _ = serve(runner, SemiPd(chunk_tokens=16, **shares), num_blocks)
    for request in REQUESTS:
        assert bench.line.told(request.id) == (generated(theirs, request), "length")
    assert bench.kv.num_hit_tokens > 0
    bench.check_empty()


def test_who_is_cancelled_amid_a_step_harms_nobody(model: tuple[Runner, Any]) -> None:
    runner, theirs = model
    bench, _ = serve(runner, SemiPd(chunk_tokens=8), 64, cancelled="r6")
    assert bench.line.told("r6")[1] == "cancelled"
    for request in REQUESTS[:6]:
        assert bench.line.told(request.id) == (generated(theirs, request), "length")
    bench.check_empty()


def test_both_workers_compute_at_once_with_the_threads_of_their_shares(model: tuple[Runner, Any]) -> None:
    runner, _ = model
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        _, watched = serve(runner, SemiPd(chunk_tokens=8, prefill_share=0.75, decode_share=0.25, window=0), 64)
        assert torch.get_num_threads() == 4  # the engine's own thread is left alone
    finally:
        torch.set_num_threads(before)
    assert watched.num_threads == {3, 1}
    assert watched.most_at_once == 2


def test_a_step_that_fails_in_a_lane_ends_its_requests_alone(model: tuple[Runner, Any]) -> None:
    runner, theirs = model
    failing = Watched(runner)
    calls = iter(range(1000))

    def run(rows: Any) -> Any:
        if next(calls) == 0:
            raise RuntimeError("no luck")
        return runner.run(rows)

    failing.run = run  # type: ignore[method-assign]
    port: ModelRunner = failing

    async def go() -> Bench:
        line = FakeLine()
        bench = Bench(port, line, runner.facts, 64, BLOCK_SIZE)  # type: ignore[arg-type]
        line.give(REQUESTS[0])
        serving = asyncio.ensure_future(bench.serve(Stack(batch=SemiPd())))
        while "r0" not in line.outputs():
            await asyncio.sleep(0)
        line.give(REQUESTS[1], Drain())
        await serving
        return bench

    bench = asyncio.run(asyncio.wait_for(go(), 60))
    assert bench.line.told("r0") == ([], "error")
    assert bench.line.told("r1") == (generated(theirs, REQUESTS[1]), "length")
    bench.check_empty()
