"""The whole engine on tiny real models: greedy tokens are those of `transformers`, whatever the scheduling."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.llm.loop.fakes import Bench, FakeLine, submit
from engines.llm.model.driving import BLOCK_SIZE, make_runner
from engines.llm.model.models import save_model
from headway.engines.llm.loop.ports import ModelRunner
from headway.engines.llm.messages import Drain, Submit, ToEngine
from headway.engines.llm.model.runner import Runner
from headway.policies.serving.orca import Orca
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.semi_pd import SemiPd
from headway.policies.serving.stack import Stack
from headway.policies.serving.vllm import Vllm

LANES = [SemiPd(chunk_tokens=20), SemiPd(chunk_tokens=64, prefill_share=0.5, decode_share=0.5, window=5, ttft_s=1e-4)]
POLICIES = [Orca(), Vllm(max_batched_tokens=60), SarathiServe(token_budget=11), SarathiServe(token_budget=64), *LANES]
SHARED = [5 + 7 * n % 290 for n in range(40)]


class Waves:
    """Hands in a message with every so many steps of a real runner."""

    def __init__(self, runner: Runner, line: FakeLine, messages: list[ToEngine], every: int) -> None:
        self._runner, self._line, self._messages, self._every = runner, line, messages, every
        self._steps = 0
        self._loop = asyncio.get_running_loop()  # a step may run in a thread of its own
        self.open, self.append, self.set_blocks = runner.open, runner.append, runner.set_blocks
        self.close = runner.close

    def run(self, rows: Any) -> Any:
        self._steps += 1
        if self._messages and self._steps % self._every == 0:
            self._loop.call_soon_threadsafe(self._line.give, self._messages.pop(0))
        return self._runner.run(rows)


@pytest.fixture(scope="module", params=["llama", "mistral"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, Any]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    theirs = save_model(request.param, folder)
    return make_runner(folder), theirs


def generated(theirs: Any, request: Submit) -> list[int]:
    out = theirs.generate(
        torch.tensor([request.prompt]), max_new_tokens=request.sampling.max_tokens, do_sample=False, eos_token_id=[999]
    )
    return [int(token) for token in out[0, len(request.prompt) :]]


@st.composite
def request_lists(draw: st.DrawFn) -> list[Submit]:
    prompts = draw(
        st.lists(
            st.one_of(
                st.lists(st.integers(3, 299), min_size=1, max_size=50), st.integers(1, 40).map(lambda n: SHARED[:n])
            ),
            min_size=2,
            max_size=6,
        )
    )
    return [
        submit(f"r{n}", prompt, max_tokens=draw(st.integers(1, 25)), ignore_eos=True)
        for n, prompt in enumerate(prompts)
    ]


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request_lists(), st.sampled_from(POLICIES), st.integers(10, 24), st.integers(1, 6))
def test_greedy_tokens_are_those_of_transformers(
    model: tuple[Runner, Any], requests: list[Submit], policy: Any, num_blocks: int, every: int
) -> None:
    runner, theirs = model

    async def go() -> Bench:
        line = FakeLine()
        waves = Waves(runner, line, list(requests[1:]), every)
        port: ModelRunner = waves
        bench = Bench(port, line, runner.facts, num_blocks, BLOCK_SIZE)  # type: ignore[arg-type]
        line.give(requests[0])
        serving = asyncio.ensure_future(bench.serve(Stack(batch=policy)))
        while len(line.outputs()) < len(requests):
            await asyncio.sleep(0)
            if not bench.stepper.lives and waves._messages:
                line.give(waves._messages.pop(0))
        line.give(Drain())
        await serving
        return bench

    bench = asyncio.run(asyncio.wait_for(go(), 60))
    for request in requests:
        assert bench.line.told(request.id) == (generated(theirs, request), "length")
    bench.check_empty()
