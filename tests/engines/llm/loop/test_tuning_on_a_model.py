"""Fine-tuning beside serving on a tiny real model: nobody's tokens change, and neither do the losses."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from engines.llm.loop.fakes import Bench, FakeLine, submit
from engines.llm.loop.test_engine_on_a_model import SHARED, generated
from engines.llm.model.driving import BLOCK_SIZE, make_runner
from engines.llm.model.models import save_model
from engines.tuning.making import make_spec
from headway.core.actions import Set
from headway.core.events import Event
from headway.engines.llm.loop.ports import ModelRunner
from headway.engines.llm.messages import Drain, Message, Tune, TuneEnded, TuneTold
from headway.engines.llm.model.runner import Runner
from headway.engines.llm.trainers import Trainers
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec
from headway.engines.tuning.trainer import Trainer
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Step
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.policies.tuning.beside import Beside
from headway.policies.tuning.lent_memory import LentMemory

REQUESTS = [submit(f"r{n}", SHARED[: 5 * n + 8], max_tokens=24, ignore_eos=True) for n in range(5)]


class Always:
    """Carries a layer or two with every step, at a share of its own."""

    def __init__(self, share: float) -> None:
        self.share = share

    def reset(self, rng: np.random.Generator) -> None:
        self._num = itertools.cycle((1, 2, 1, 3))

    def hear(self, event: Event, view: ServingView) -> None:
        pass

    def carry(self, step: Step, instance: InstanceState, job: JobState, view: ServingView) -> Step:
        return replace(step, tune=self._next(job), share=self.share, repeat=1)

    def fill(self, instance: InstanceState, job: JobState, view: ServingView) -> Step | None:
        return Step(instance=instance.id, pieces=(), tune=self._next(job))

    def _next(self, job: JobState) -> Any:
        return tuple(itertools.islice(job.coming(1), next(self._num)))


class Counting(LentMemory):
    """Counts how often memory is taken back while a microbatch is under way."""

    num_taken = 0

    def take_back(self, instance: InstanceState) -> Set | None:
        found = super().take_back(instance)
        Counting.num_taken += found is not None
        return found


@pytest.fixture(scope="module", params=["torch", "native"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, bool]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    return folder, save_model("llama", folder), request.param == "native"


@pytest.fixture
def runner(model: tuple[Path, Any, bool]) -> Runner:
    return make_runner(model[0], native=model[2])


def told(line: FakeLine, kind: type[Message]) -> Iterator[Any]:
    return (message for message in line.news if isinstance(message, kind))


def serve(runner: Runner, spec: TuneSpec, share: float = 1.0, num_blocks: int = 0, low: float = 0.05) -> Bench:
    """Train beside requests, and ask the adapter something in the end."""
    num_blocks = num_blocks or runner.num_blocks
    port: ModelRunner = runner

    async def go() -> Bench:
        line = FakeLine()
        trainers = Trainers(spec.model, runner, lambda: None)
        bench = Bench(port, line, runner.facts, num_blocks, BLOCK_SIZE, trainers=trainers)  # type: ignore[arg-type]
        memory = Counting(low_free_frac=low, high_free_frac=max(low, 0.1))
        policy = Beside(policy=Stack(batch=SarathiServe()), share=Always(share), memory=memory)
        serving = asyncio.ensure_future(bench.serve(policy))
        line.give(Tune(spec=spec))
        while not list(told(line, TuneTold)) and not list(told(line, TuneEnded)):
            await asyncio.sleep(0.001)
        for request in REQUESTS:
            line.give(request)
            await asyncio.sleep(0.003)
        while not list(told(line, TuneEnded)):
            await asyncio.sleep(0.001)
        bench.engine._intake.facts = runner.facts
        line.give(submit("tuned", SHARED[:20], adapter=spec.name, max_tokens=8, ignore_eos=True), Drain())
        await serving
        return bench

    return asyncio.run(asyncio.wait_for(go(), 100))


def alone(spec: TuneSpec, at: Path) -> list[TuneNews]:
    news: list[TuneNews] = []
    assert Trainer(replace(spec, folder=str(at / "alone"))).train(news.append)
    return [one for one in news if one.what == "step"]


def check(bench: Bench, theirs: Any, spec: TuneSpec, expected: list[TuneNews]) -> None:
    (ended,) = told(bench.line, TuneEnded)
    assert (ended.reason, ended.why) == ("succeeded", "")
    losses = [one.news.loss for one in told(bench.line, TuneTold) if one.news.what == "step"]
    assert losses == pytest.approx([one.loss for one in expected], rel=1e-5)
    for request in REQUESTS:
        assert bench.line.told(request.id) == (generated(theirs, request), "length")
    tokens, _ = bench.line.told("tuned")
    plain = generated(theirs, submit("p", SHARED[:20], max_tokens=8, ignore_eos=True))
    assert len(tokens) == 8
    assert tokens != plain, "the adapter must have learnt something"
    bench.check_empty()


@pytest.mark.parametrize("share", [1.0, 0.5], ids=["in turns", "side by side"])
def test_tokens_and_losses_are_those_of_either_alone(
    model: tuple[Path, Any, bool], runner: Runner, tmp_path: Path, share: float
) -> None:
    folder, theirs, _ = model
    spec = make_spec(tmp_path / "run", str(folder), name="ft:one", learning_rate=0.05)
    bench = serve(runner, spec, share)
    check(bench, theirs, spec, alone(spec, tmp_path))


def test_memory_that_is_taken_back_costs_no_step(model: tuple[Path, Any, bool], runner: Runner, tmp_path: Path) -> None:
    folder, theirs, _ = model
    spec = make_spec(tmp_path / "run", str(folder), name="ft:two", learning_rate=0.05)
    needed = Trainers(spec.model, runner, lambda: None).load(replace(spec, folder=str(tmp_path / "probe"))).job(0.0)
    # Room for the run and a little more: with every few requests it has to go.
    num_blocks = min(runner.num_blocks, needed.kv_blocks + max(14, needed.kv_blocks // 3))
    Counting.num_taken = 0
    bench = serve(runner, spec, num_blocks=num_blocks, low=0.2)
    assert Counting.num_taken
    check(bench, theirs, spec, alone(spec, tmp_path))


def test_a_run_goes_on_in_the_next_engine(model: tuple[Path, Any, bool], runner: Runner, tmp_path: Path) -> None:
    folder, theirs, _ = model
    spec = make_spec(tmp_path / "run", str(folder), name="ft:three", learning_rate=0.05, checkpoint_steps=1)
    first = Trainer(spec)
    for unit in itertools.islice(JobState(Trainers(spec.model, runner, lambda: None).load(spec).job(0.0)).coming(), 30):
        first.run(unit)
    first.checkpoint()
    done = first.step
    assert done
    bench = serve(runner, spec)
    check(bench, theirs, spec, alone(spec, tmp_path)[done:])
