"""Layered prefill on tiny real models: the tokens are those of prompts computed in one piece, of a mixture as well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.llm.loop.fakes import Bench, FakeLine, submit
from engines.llm.model.driving import BLOCK_SIZE, make_runner, random_tokens
from engines.llm.model.models import save_model
from headway.core.events import Event
from headway.engines.llm.messages import Drain, Submit
from headway.engines.llm.model.runner import Runner
from headway.policies.serving.layered_prefill import LayeredPrefill
from headway.policies.serving.nouns import Step
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack


class Listening(Stack):
    """Keeps the steps that it decided on."""

    steps: list[Step]

    def decide(self, event: Event, view: ServingView) -> Any:
        actions = list(super().decide(event, view))
        self.steps += [action for action in actions if isinstance(action, Step)]
        return actions


@pytest.fixture(scope="module", params=["qwen3-moe", "mixtral", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, Any]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    theirs = save_model(request.param, folder, num_hidden_layers=5)
    return make_runner(folder), theirs


def generated(theirs: Any, request: Submit) -> list[int]:
    out = theirs.generate(
        torch.tensor([request.prompt]), max_new_tokens=request.sampling.max_tokens, do_sample=False, eos_token_id=[999]
    )
    return [int(token) for token in out[0, len(request.prompt) :]]


@pytest.mark.parametrize("most", [8192, 24])
def test_tokens_are_those_of_whole_prompts(model: tuple[Runner, Any], most: int) -> None:
    runner, theirs = model
    lengths = ((9, 30), (40, 12), (17, 9), (60, 6))
    requests = [
        submit(f"r{seed}", random_tokens(prompt, seed), max_tokens=output, ignore_eos=True)
        for seed, (prompt, output) in enumerate(lengths)
    ]
    policy = Listening(batch=LayeredPrefill(group_tokens=8, max_batched_tokens=most))
    policy.steps = []

    async def go() -> Bench:
        line = FakeLine()
        bench = Bench(runner, line, runner.facts, 64, BLOCK_SIZE)  # type: ignore[arg-type]
        line.give(requests[0])
        serving = asyncio.ensure_future(bench.serve(policy))
        while not line.outputs():  # it decodes by the time the others come
            await asyncio.sleep(0)
        for request in requests[1:]:
            line.give(request)
        while sum(items[-1].finish != "" for items in line.outputs().values()) < len(requests):
            await asyncio.sleep(0)
        line.give(Drain())
        await serving
        return bench

    bench = asyncio.run(asyncio.wait_for(go(), 60))
    for request in requests:
        assert bench.line.told(request.id) == (generated(theirs, request), "length")
    bench.check_empty()
    spans = {piece.layers for step in policy.steps for piece in step.pieces} - {None}
    assert len(spans) >= 3  # prompts did walk
    assert any(len({piece.layers for piece in step.pieces}) > 1 for step in policy.steps)  # beside decodes
