"""Fine-tuning in the engine loop, over a fake model and fake runs that check what they are asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from engines.llm.loop.fakes import Bench, FakeLine, FakeRunner, continuation, submit
from headway.core import catalogue
from headway.core.errors import ConfigError, TuneError
from headway.engines.llm.messages import Adopt, Adopted, Drain, Message, StopTune, Tune, TuneEnded, TuneTold
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec
from headway.policies.serving.jobs import JobState
from headway.policies.serving.nouns import Microbatch, TuneJob, TuneUnit

PLAN = (Microbatch(8), Microbatch(8, updates=True), Microbatch(4, updates=True), Microbatch(4, trains=False))


def a_spec(job: str = "run") -> TuneSpec:
    return TuneSpec(job=job, model="m", name=f"ft:{job}", tokens="t", folder="f")


class FakeRun:
    """A run that knows which unit must be next, and needs its memory."""

    def __init__(self, spec: TuneSpec, owner: FakeTrainers) -> None:
        self.spec, self.owner = spec, owner
        self.state = JobState(self.job(0.0))
        self.steps = 0
        self.told: list[TuneNews] = []
        self.saved = False

    def job(self, arrival_s: float) -> TuneJob:
        owner = self.owner
        return TuneJob(
            id=self.spec.job, arrival_s=arrival_s, num_layers=3, microbatches=PLAN, kv_blocks=owner.kv_blocks
        )

    def run(self, unit: TuneUnit) -> None:
        assert self.state.why_not([unit]) is None
        assert len(self.owner.blocks) >= self.owner.kv_blocks
        self.owner.threads.add(threading.current_thread() is threading.main_thread())
        if self.owner.fail_at == (unit.microbatch, unit.phase):
            raise TuneError("tune: the loss must be a number, got nan. Lower the learning rate.")
        self.state.take(unit)
        if unit.phase == "update":
            self.steps += 1
            self.told.append(TuneNews(what="step", step=self.steps, num_steps=2, loss=1.0 / self.steps))

    def drop(self) -> None:
        if not self.state.is_between:
            self.state.drop()

    def news(self) -> list[TuneNews]:
        if self.owner.news_fail and self.steps:
            raise TuneError("tune: f must take what is written there, got: No space left on device. Make room.")
        told, self.told = self.told, []
        return told

    def save(self) -> None:
        self.saved = True

    def finish(self) -> str:
        assert self.state.is_done
        assert threading.current_thread() is not threading.main_thread()
        self.owner.disk.wait(10)
        return f"folder/{self.spec.job}"


class FakeTrainers:
    def __init__(self, kv_blocks: int = 10) -> None:
        self.kv_blocks = kv_blocks
        self.blocks: list[int] = []
        self.adopted: dict[str, str] = {}
        self.threads: set[bool] = set()
        self.fail_at: tuple[int, str] | None = None
        self.runs: dict[str, FakeRun] = {}
        self.news_fail = False
        self.wait = threading.Event()
        self.wait.set()
        self.disk = threading.Event()
        self.disk.set()

    def load(self, spec: TuneSpec) -> FakeRun:
        assert threading.current_thread() is not threading.main_thread()
        self.wait.wait(10)
        if spec.job == "unreadable":
            raise ConfigError("tune: tokens must be a file of examples, got nothing.")
        self.runs[spec.job] = FakeRun(spec, self)
        return self.runs[spec.job]

    def lend(self, blocks: Sequence[int]) -> None:
        self.blocks = list(blocks)

    def adopt(self, name: str, folder: str) -> None:
        if folder == "bad":
            raise ConfigError("adapter bad: must be readable.")
        self.adopted[name] = folder


class Play:
    """An engine that serves and trains until it is told to drain."""

    def __init__(self, trainers: FakeTrainers | None, policy: str = "tuning/harli", num_blocks: int = 64) -> None:
        self.line = FakeLine()
        self.trainers = trainers
        runner = FakeRunner(num_blocks)
        self.bench = Bench(runner, self.line, runner.facts, num_blocks, 4, trainers=trainers)
        self.policy = catalogue.build(policy)

    def told(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.line.news if isinstance(message, kind)]

    async def until(self, kind: type[Message], num: int = 1) -> list[Message]:
        while len(found := self.told(kind)) < num:
            await asyncio.sleep(0.001)
        return found

    async def over(self) -> None:
        self.line.give(Drain())
        await self.serving

    async def __aenter__(self) -> Play:
        self.serving = asyncio.ensure_future(self.bench.serve(self.policy))
        return self

    async def __aexit__(self, *error: object) -> None:
        if error[0] is None:
            await self.over()
            if not self.bench.board.jobs:  # a run that an engine leaves behind keeps its memory to the end
                self.bench.check_empty()
        else:
            self.serving.cancel()


@pytest.mark.parametrize(
    "policy", [row.id for row in catalogue.rows("tuning") if row.seat == "share" and row.id != "tuning/dedicated"]
)
def test_a_run_is_computed_beside_requests_and_served_when_it_is_done(policy: str) -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        async with Play(trainers, policy) as engine:
            request = submit("r", [5, 6, 7], max_tokens=40, ignore_eos=True)
            engine.line.give(request, Tune(spec=a_spec()))
            (ended,) = await engine.until(TuneEnded)
            assert ended == TuneEnded(id="run", reason="succeeded", folder="folder/run")
        assert trainers.adopted == {"ft:run": "folder/run"}
        assert [message.news.step for message in engine.told(TuneTold)] == [1, 2]  # type: ignore[attr-defined]
        assert engine.line.told("r") == continuation(request)
        assert not trainers.blocks

    asyncio.run(asyncio.wait_for(play(), 20))


def test_a_run_that_fails_ends_and_the_engine_serves_on() -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        trainers.fail_at = (1, "backward")
        async with Play(trainers) as engine:
            engine.line.give(Tune(spec=a_spec()))
            (ended,) = await engine.until(TuneEnded)
            assert isinstance(ended, TuneEnded)
            assert ended.reason == "failed"
            assert "Lower the learning rate" in ended.why
            trainers.fail_at = None
            engine.line.give(submit("r", [5], max_tokens=4), Tune(spec=a_spec("again")))
            await engine.until(TuneEnded, 2)
        assert engine.line.told("r") == continuation(submit("r", [5], max_tokens=4))
        assert list(trainers.adopted) == ["ft:again"]

    asyncio.run(asyncio.wait_for(play(), 20))


def test_a_checkpoint_that_cannot_be_written_ends_its_run_and_nothing_else() -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        trainers.news_fail = True
        async with Play(trainers) as engine:
            request = submit("r", [5, 6, 7], max_tokens=40, ignore_eos=True)
            engine.line.give(Tune(spec=a_spec()), request)
            (ended,) = await engine.until(TuneEnded)
            assert isinstance(ended, TuneEnded)
            assert ended.reason == "failed"
            assert "No space left" in ended.why
        assert engine.line.told("r") == continuation(request)

    asyncio.run(asyncio.wait_for(play(), 20))


def test_where_steps_run_side_by_side_a_run_is_refused_at_once() -> None:
    async def play() -> None:
        async with Play(FakeTrainers()) as engine:
            engine.bench.board.instances["engine"].num_lanes = 2
            engine.line.give(Tune(spec=a_spec()))
            (ended,) = await engine.until(TuneEnded)
            assert isinstance(ended, TuneEnded)
            assert "2 side by side" in ended.why

    asyncio.run(asyncio.wait_for(play(), 20))


def test_whatever_is_wrong_with_an_adapter_the_engine_lives_on() -> None:
    class Broken(FakeTrainers):
        def adopt(self, name: str, folder: str) -> None:
            raise RuntimeError("not enough memory")

    async def play() -> None:
        async with Play(Broken()) as engine:
            engine.line.give(Adopt(name="a", folder="b"))
            assert await engine.until(Adopted) == [Adopted(name="a", why="not enough memory")]

    asyncio.run(asyncio.wait_for(play(), 20))


@pytest.mark.parametrize("stopped", [False, True])
def test_requests_do_not_wait_for_an_adapter_that_is_written(stopped: bool) -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        trainers.disk.clear()
        async with Play(trainers) as engine:
            engine.line.give(Tune(spec=a_spec()))
            while not (engine.bench.board.jobs and engine.bench.board.jobs["run"].is_done):
                await asyncio.sleep(0.001)
            request = submit("r", [5, 6, 7], max_tokens=8, ignore_eos=True)
            engine.line.give(request, *([StopTune(id="run")] if stopped else []))
            while "r" not in engine.line.outputs() or not engine.line.outputs()["r"][-1].finish:
                await asyncio.sleep(0.001)
            assert bool(engine.told(TuneEnded)) == stopped
            trainers.disk.set()
            (ended,) = await engine.until(TuneEnded)
            assert isinstance(ended, TuneEnded)
            assert ended.reason == ("cancelled" if stopped else "succeeded")
        assert engine.line.told("r") == continuation(request)
        assert bool(trainers.adopted) != stopped

    asyncio.run(asyncio.wait_for(play(), 20))


def test_units_beside_pieces_do_not_wait_for_what_is_being_loaded() -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        async with Play(trainers, "tuning/static-split") as engine:
            engine.line.give(Tune(spec=a_spec("a")))
            while "a" not in trainers.runs:
                await asyncio.sleep(0)
            trainers.wait.clear()
            request = submit("r", [5, 6, 7], max_tokens=40, ignore_eos=True)
            engine.line.give(Tune(spec=a_spec("b")), Tune(spec=a_spec("c")), request)
            (ended,) = await engine.until(TuneEnded)
            assert ended == TuneEnded(id="a", reason="succeeded", folder="folder/a")
            trainers.wait.set()
            await engine.until(TuneEnded, 3)

    asyncio.run(asyncio.wait_for(play(), 20))


@pytest.mark.parametrize("when", ["loading", "computing"])
def test_a_run_can_be_stopped_at_any_time(when: str) -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        if when == "loading":
            trainers.wait.clear()
        async with Play(trainers, num_blocks=24) as engine:
            engine.line.give(Tune(spec=a_spec()))
            while when == "computing" and "run" not in trainers.runs:
                await asyncio.sleep(0)
            engine.line.give(StopTune(id="run"), StopTune(id="nobody"))
            await asyncio.sleep(0.01)
            trainers.wait.set()
            (ended,) = await engine.until(TuneEnded)
            assert isinstance(ended, TuneEnded)
            assert ended.reason in (("cancelled",) if when == "loading" else ("cancelled", "succeeded"))
        assert not engine.bench.board.jobs

    asyncio.run(asyncio.wait_for(play(), 20))


def test_what_cannot_be_trained_is_said() -> None:
    async def play() -> None:
        async with Play(FakeTrainers(kv_blocks=60)) as engine:
            engine.line.give(Tune(spec=a_spec("large")), Tune(spec=a_spec("unreadable")))
            large, unreadable = await engine.until(TuneEnded, 2)
            assert isinstance(large, TuneEnded)
            assert isinstance(unreadable, TuneEnded)
            assert "must fit into 51 KV blocks" in large.why
            assert unreadable.why == "tune: tokens must be a file of examples, got nothing."
        async with Play(None) as engine:
            engine.line.give(Tune(spec=a_spec()), Adopt(name="a", folder="b"))
            (ended,) = await engine.until(TuneEnded)
            assert isinstance(ended, TuneEnded)
            assert ended.why == "this engine trains nothing"
            assert await engine.until(Adopted) == [Adopted(name="a", why="this engine can serve no more adapters")]

    asyncio.run(asyncio.wait_for(play(), 20))


def test_adapters_are_adopted() -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        async with Play(trainers) as engine:
            engine.line.give(Adopt(name="a", folder="good"), Adopt(name="b", folder="bad"))
            assert await engine.until(Adopted, 2) == [
                Adopted(name="a"),
                Adopted(name="b", why="adapter bad: must be readable."),
            ]
        assert trainers.adopted == {"a": "good"}

    asyncio.run(asyncio.wait_for(play(), 20))


def test_an_engine_that_drains_saves_its_runs() -> None:
    async def play() -> None:
        trainers = FakeTrainers(kv_blocks=10)
        async with Play(trainers, num_blocks=16) as engine:
            engine.line.give(submit("r", list(range(3, 40)), max_tokens=20, ignore_eos=True), Tune(spec=a_spec()))
            while "run" not in trainers.runs:
                await asyncio.sleep(0)
        if not engine.told(TuneEnded):
            assert trainers.runs["run"].saved

    asyncio.run(asyncio.wait_for(play(), 20))


def test_when_the_policy_fails_runs_are_given_up_aloud() -> None:
    async def play() -> None:
        trainers = FakeTrainers()
        trainers.kv_blocks = 40
        async with Play(trainers, num_blocks=60) as engine:
            engine.bench.board.instances["engine"].kv.allocate(30)
            engine.line.give(Tune(spec=a_spec()))
            while not engine.bench.board.jobs:
                await asyncio.sleep(0.001)
            engine.bench.engine.abandon_runs("the policy has failed")
            (ended,) = await engine.until(TuneEnded)
            assert ended == TuneEnded(id="run", reason="failed", why="the policy has failed")
            engine.bench.kv.release(range(30))

    asyncio.run(asyncio.wait_for(play(), 20))
