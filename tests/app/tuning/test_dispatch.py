"""Jobs in every order of events: whatever happens, one at a time is trained, and all come to an end."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.app.server.errors import ApiError
from headway.app.server.offered import Offers
from headway.app.tuning.dispatch import Ended
from headway.app.tuning.folder import FILE, JOB, StateFolder, new_id
from headway.app.tuning.job_body import JobBody
from headway.app.tuning.ports import Prepared
from headway.app.tuning.records import LIVE, OVER, FileRecord, JobRecord
from headway.app.tuning.service import TuningService
from headway.app.tuning.store import Store
from headway.app.tuning.transitions import NotNow
from headway.core.errors import EngineError
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec

STEPS = 3


class PlayedEngine:
    """An engine as far as jobs are concerned, played by hand."""

    base = "m"
    model = "somewhere"

    def __init__(self) -> None:
        self.ready = True
        self.service: TuningService
        self.has: TuneSpec | None = None
        self.step = 0
        self.served: list[str] = []

    def train(self, spec: TuneSpec) -> None:
        if not self.ready:
            raise EngineError("it is not there")
        assert self.has is None, "one at a time"
        self.has, self.step = spec, 0
        self.service.dispatcher.told(spec.job, TuneNews(what="loaded", step=0, num_steps=STEPS))

    def stop(self, job: str) -> None:
        if self.has is not None and self.has.job == job:
            self.end("cancelled")

    def turn(self) -> None:
        """Make a step, or end well."""
        if self.has is None:
            return
        if self.step == STEPS:
            folder = Path(self.has.folder) / "adapter"
            folder.mkdir(parents=True, exist_ok=True)
            assert self.has.name not in self.served, "a name is served once"
            self.served.append(self.has.name)
            self.end("succeeded", str(folder))
            return
        self.step += 1
        news = TuneNews(what="step", step=self.step, num_steps=STEPS, tokens=self.step, loss=1.0)
        self.service.dispatcher.told(self.has.job, news)

    def end(self, reason: str, folder: str = "") -> None:
        assert self.has is not None
        job, self.has = self.has.job, None
        self.service.dispatcher.ended(Ended(job=job, reason=reason, why="It was so.", folder=folder))

    def die(self) -> None:
        if self.ready:
            self.ready, self.has, self.served = False, None, []
            self.service.dispatcher.lost("it was killed")

    def come_back(self) -> None:
        if not self.ready:
            self.ready = True
            self.service.dispatcher.beat()


class QuickReader:
    async def faults(self, path: Path) -> list[str]:
        return []

    async def prepare(self, job: JobRecord, folder: Path) -> Prepared:
        await asyncio.sleep(0)
        return Prepared(tokens="t", counts={"examples": 1})


class World:
    """A service with a played engine."""

    def __init__(self, path: Path) -> None:
        self.folder = StateFolder(path)
        self.store = Store(self.folder.books)
        self.engine = PlayedEngine()
        self.adapters: dict[str, str] = {}
        self.service = TuningService(
            self.store, self.folder, self.engine, QuickReader(), Offers(),
            max_file_bytes=9, on_models=self._note, served=lambda: ["m"],
        )  # fmt: skip
        self.engine.service = self.service
        self.file = FileRecord(
            id=new_id(FILE), owner="", filename="", purpose="fine-tune", bytes=1, created_at=0
        )  # fmt: skip
        self.store.now(lambda books: books.files.add(self.file))
        self.jobs: list[str] = []

    def _note(self, adapters: dict[str, str]) -> None:
        self.adapters = adapters

    async def create(self) -> None:
        job = await self.service.create("", JobBody(model="m", training_file=self.file.id))
        self.jobs.append(job.id)

    async def job(self, id: str) -> JobRecord:
        return await self.service.job(id, "")

    async def settle(self) -> None:
        """Let everything happen that happens by itself."""
        for _ in range(6):
            await self.store.do(lambda _: None)
            await asyncio.sleep(0)

    def close(self) -> None:
        self.store.close()
        self.folder.release()


COMMANDS = st.tuples(
    st.sampled_from(
        ["create", "cancel", "pause", "resume", "turn", "turn", "turn", "die", "come_back", "fail", "settle"]
    ),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(COMMANDS, max_size=30))
def test_all_jobs_come_to_an_end_whatever_happens(commands: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as path:
        asyncio.run(_play(World(Path(path)), commands))


async def _play(world: World, commands: list[tuple[str, int]]) -> None:
    engine = world.engine
    world.service.dispatcher.open()
    try:
        for command, which in commands:
            if command in ("cancel", "pause", "resume"):
                if which < len(world.jobs):
                    with contextlib.suppress(NotNow):
                        await getattr(world.service, command)(world.jobs[which], "")
            elif command == "fail":
                if engine.has is not None:
                    engine.end("failed")
            elif command in ("create", "settle"):
                await getattr(world, command)()
            else:
                getattr(engine, command)()
        await _finish(world)
        await _check(world)
    finally:
        await world.service.close()
        world.close()


async def _finish(world: World) -> None:
    async with asyncio.timeout(20):
        while True:
            statuses = [(await world.job(id)).status for id in world.jobs]
            if all(status in OVER for status in statuses) and not world.service.dispatcher.sent:
                break
            for id, status in zip(world.jobs, statuses, strict=True):
                if status == "paused":
                    await world.service.resume(id, "")
            world.engine.come_back()
            world.engine.turn()
            await world.settle()
    await world.settle()


async def _check(world: World) -> None:
    jobs = [await world.job(id) for id in world.jobs]
    won = [job for job in jobs if job.status == "succeeded"]
    assert {job.adapter for job in won} == set(world.adapters)
    assert all(Path(folder).is_dir() for folder in world.adapters.values())
    assert {path.name for path in world.folder.jobs.iterdir()} == {job.id for job in won}
    assert all(job.finished_at is not None for job in jobs)
    assert all((job.trouble is not None) == (job.status == "failed") for job in jobs)
    assert await world.store.do(lambda books: books.jobs.live()) == []


def test_a_name_that_was_given_this_very_moment_is_not_given_again(tmp_path: Path) -> None:
    async def play(world: World) -> None:
        world.service.dispatcher.open()
        body = JobBody(model="m", training_file=world.file.id, suffix="pirate")
        job = await world.service.create("", body)
        while (await world.job(job.id)).status != "succeeded":  # it is in the books, and `served` does not know it
            await world.settle()
            world.engine.turn()
        with pytest.raises(ApiError, match="served already"):
            await world.service.create("", body)
        await world.service.close()

    world = World(tmp_path)
    try:
        asyncio.run(asyncio.wait_for(play(world), 20))
    finally:
        world.close()


def test_a_job_of_another_base_waits(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        await world.create()
        world.engine.base = "other"
        world.service.dispatcher.open()
        await world.settle()
        assert world.engine.has is None
        assert (await world.job(world.jobs[0])).status == "validating_files"
        world.engine.base = "m"
        await _finish_with(world)

    asyncio.run(main())


def test_a_defect_fails_one_job_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        world = World(tmp_path)
        for _ in range(2):
            await world.create()
        train, broken = world.engine.train, list[str]()

        def train_but_once(spec: TuneSpec) -> None:
            if not broken:
                broken.append(spec.job)
                raise ZeroDivisionError
            train(spec)

        monkeypatch.setattr(world.engine, "train", train_but_once)
        world.service.dispatcher.open()
        await _finish_with(world)

        first, second = [await world.job(id) for id in world.jobs]
        assert (first.status, second.status) == ("failed", "succeeded")
        assert first.trouble is not None
        assert first.trouble.code == "internal_error"

    asyncio.run(main())


async def _finish_with(world: World) -> None:
    world.service.dispatcher.beat()
    await _finish(world)
    await world.service.close()
    statuses: list[Any] = [(await world.job(id)).status for id in world.jobs]
    assert not set(statuses) & set(LIVE)


def test_ids_are_of_their_kind() -> None:
    assert new_id(JOB).startswith("ftjob-")
    assert new_id(JOB) != new_id(JOB)
