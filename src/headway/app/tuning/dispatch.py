"""Brings jobs to the engine, one at a time, and hears what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from headway.app.tuning import transitions
from headway.app.tuning.choosing import spec_of
from headway.app.tuning.folder import StateFolder
from headway.app.tuning.ports import Prepared, Preparer, Trainer
from headway.app.tuning.progress import Progress
from headway.app.tuning.pulse import Pulse
from headway.app.tuning.records import JobRecord, Trouble
from headway.app.tuning.store import Books, Store
from headway.app.tuning.troubles import DiskFull
from headway.core.errors import EngineError
from headway.engines.tuning.curve import read_curve
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_DEATHS = 3
"""So often in a row an engine may die of a job, with no new step in between, before that is the job's failure."""

RETRY_S = 2.0
"""How long to wait before trying again what must be written and cannot."""


class Ended(Struct, frozen=True, kw_only=True):
    """What the engine says at the end of a job; `reason` is ``"succeeded"``, ``"failed"`` or ``"cancelled"``."""

    job: str
    reason: str
    why: str = ""
    folder: str = ""


class Dispatcher:
    """Validates, sends and follows jobs.

    Parameters
    ----------
    store, folder : Store, StateFolder
        The books, and where jobs have their folders.
    trainer : Trainer
        Who trains.
    preparer : Preparer
        Who turns files into tokens.
    adopt : callable
        Told of an engine's success, writes it down and offers the model; says whether anybody still wanted it.

    Attributes
    ----------
    sent : str
        The job that the engine has; empty for none.
    progress : Progress
        How that goes.
    changed : Pulse
        Beats whenever a job is in another state, or there may be something to do.
    said : Pulse
        Beats whenever something was said of a job.
    """

    def __init__(
        self,
        store: Store,
        folder: StateFolder,
        trainer: Trainer,
        preparer: Preparer,
        adopt: Callable[[Ended], Awaitable[bool]],
    ) -> None:
        self.sent = ""
        self.progress = Progress()
        self.changed = Pulse()
        self.said = Pulse()
        self._store = store
        self._folder = folder
        self._trainer = trainer
        self._preparer = preparer
        self._adopt = adopt
        self._num_deaths = 0
        self._preparing: tuple[str, asyncio.Task[Prepared]] | None = None
        self._heard: asyncio.Queue[Callable[[], Coroutine[Any, Any, None]]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    # From outside ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to work; call it in the event loop."""
        rounds = (self._prepare_next, self._send_next, self._hear_next)
        self._tasks = [asyncio.create_task(self._go_round(one)) for one in rounds]

    async def close(self) -> None:
        """Stop working; what the engine has stays as it is, and is gone on with by the next server."""
        tasks: list[asyncio.Task[Any]] = [*self._tasks]
        if self._preparing is not None:
            tasks.append(self._preparing[1])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def leave(self, id: str) -> None:
        """Stop whatever is done for a job that was cancelled or paused."""
        if self._preparing is not None and self._preparing[0] == id:
            self._preparing[1].cancel()
        if self.sent == id:
            self._trainer.stop(id)
        self.beat()

    def beat(self) -> None:
        """Have all look at what has become of jobs."""
        self.changed.beat()
        self.said.beat()

    def told(self, id: str, news: TuneNews) -> None:
        """Hear how a job goes."""
        self._heard.put_nowait(lambda: self._on_told(id, news))

    def ended(self, ended: Ended) -> None:
        """Hear how a job ended."""
        self._heard.put_nowait(lambda: self._on_ended(ended))

    def lost(self, why: str) -> None:
        """Hear that the engine died, with whatever it had."""
        self._heard.put_nowait(lambda: self._on_lost(why))

    async def clear(self, id: str) -> None:
        """Remove what a job that is over, and left no model, has in its folder."""
        await asyncio.to_thread(shutil.rmtree, self._folder.jobs / id, ignore_errors=True)

    # Validating --------------------------------------------------------------------------------------------------

    async def _prepare_next(self) -> bool:
        job = await self._first("validating_files")
        if job is not None:
            async with self._failing(job.id):
                await self._prepare(job)
        return job is not None

    async def _prepare(self, job: JobRecord) -> None:
        folder = self._folder.jobs / job.id
        self._preparing = job.id, asyncio.create_task(self._preparer.prepare(job, folder / "data"))
        try:
            (task,), _ = await asyncio.wait([self._preparing[1]])
        finally:
            self._preparing = None
        if not task.cancelled():  # else it was left, and is in another state by now
            prepared = _outcome(task)
            await self._insist(lambda books: self._take(books, job, prepared))
            self.beat()

    def _take(self, books: Books, job: JobRecord, prepared: Prepared) -> None:
        if prepared.trouble is not None:
            transitions.failed(books, job.id, prepared.trouble)
            return
        spec = spec_of(job, prepared, self._trainer.model, str(self._run_of(job.id)))
        transitions.validated(books, job.id, msgspec.to_builtins(spec), prepared.counts)

    # Sending -----------------------------------------------------------------------------------------------------

    async def _send_next(self) -> bool:
        if self.sent or not self._trainer.ready:
            return False
        job = await self._first("running") or await self._first("queued")
        if job is not None:
            async with self._failing(job.id):
                await self._send(job)
        return job is not None

    async def _send(self, job: JobRecord) -> None:
        id = job.id
        if not await self._insist(lambda books: transitions.started(books, id)):
            return
        if self.progress.job != id:
            self.progress, self._num_deaths = Progress(id), 0
        try:
            self._trainer.train(msgspec.convert(job.spec, TuneSpec))
        except EngineError:
            if self._trainer.ready:
                raise
            return  # it died just now, and it is tried again when it is back
        self.sent = id
        self.beat()
        if await self._store.do(lambda books: transitions.is_left(books, id)):
            self._trainer.stop(id)  # it was cancelled or paused in this very moment

    async def _first(self, status: str) -> JobRecord | None:
        """The oldest job of this status that the model served here is the base of."""
        live = await self._store.do(lambda books: books.jobs.live())
        return next((job for job in live if job.status == status and job.base == self._trainer.base), None)

    # Hearing -----------------------------------------------------------------------------------------------------

    async def _hear_next(self) -> bool:
        await (await self._heard.get())()
        self.said.beat()
        return True

    async def _on_told(self, id: str, news: TuneNews) -> None:
        try:
            if news.what == "loaded" and news.step:
                await self._catch_up(id)
            new = await self._store.do(lambda books: transitions.told(books, id, news))
        except DiskFull as error:
            log.warning("tuning: an event of %s was not written down: %s", id, error)
            return
        if id == self.sent:
            self.progress.take(news, new)
            self._num_deaths = 0 if new else self._num_deaths

    async def _on_ended(self, ended: Ended) -> None:
        id = ended.job
        try:
            async with self._failing(id):
                await self._tidy(id, await self._conclude(id, ended))
        finally:
            self.sent = "" if self.sent == id else self.sent
            self.beat()

    async def _conclude(self, id: str, ended: Ended) -> bool:
        """Write down how a job ended; says whether there is a new model."""
        if ended.reason == "succeeded":
            await self._again(lambda: self._catch_up(id))
            return await self._again(lambda: self._adopt(ended))
        if ended.reason == "failed":
            trouble = Trouble("training_failed", ended.why or "The training failed.")
            await self._insist(lambda books: transitions.failed(books, id, trouble))
        else:
            await self._insist(lambda books: transitions.given_up(books, id, ended.why))
        return False

    async def _catch_up(self, id: str) -> None:
        curve = await asyncio.to_thread(read_curve, self._run_of(id))
        await self._store.do(lambda books: transitions.caught_up(books, id, curve))

    def _run_of(self, id: str) -> Path:
        """Where a run keeps what is its own."""
        return self._folder.jobs / id / "run"

    async def _tidy(self, id: str, model: bool) -> None:
        job = await self._store.do(lambda books: books.jobs.get(id))
        if job is not None and job.finished_at is not None and not model:
            await self.clear(id)
        elif model:
            for part in ("data", "run/checkpoints"):
                await asyncio.to_thread(shutil.rmtree, self._folder.jobs / id / part, ignore_errors=True)

    async def _on_lost(self, why: str) -> None:
        id, self.sent = self.sent, ""
        if id:
            await self._note_death(id, why)
        self.beat()

    async def _note_death(self, id: str, why: str) -> None:
        self._num_deaths += 1
        if self._num_deaths < MAX_DEATHS:
            text = f"The engine ended: {why}. The job goes on from its last checkpoint when it is there again."
            await self._insist(lambda books: transitions.say(books, id, text, level="warn"))
            return
        text = f"The engine ended {MAX_DEATHS} times in a row while it trained this job, at last because {why}."
        await self._insist(lambda books: transitions.failed(books, id, Trouble("engine_lost", text)))
        await self._tidy(id, False)

    # Whatever happens --------------------------------------------------------------------------------------------

    async def _go_round(self, one: Callable[[], Awaitable[bool]]) -> None:
        """Do something again and again, and wait when there is nothing to do until something has changed."""
        while True:
            beat = self.changed.next
            try:
                if not await one():
                    await beat.wait()
            except Exception:
                log.exception("tuning: a defect")
                await asyncio.sleep(RETRY_S)

    @asynccontextmanager
    async def _failing(self, id: str) -> AsyncIterator[None]:
        """Let a job fail by whatever goes wrong in the `async with` block, so that the others go on."""
        try:
            yield
        except Exception:
            log.exception("tuning: the job %s failed by a defect", id)
            trouble = Trouble("internal_error", "Something went wrong in the server; its log says what.")
            await self._insist(lambda books: transitions.failed(books, id, trouble))
            self.beat()

    async def _insist(self, work: Callable[[Books], T]) -> T:
        """Write something down that must be, however long there is no room for it."""
        return await self._again(lambda: self._store.do(work))

    async def _again(self, attempt: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await attempt()
            except DiskFull as error:
                log.error("tuning: %s Trying again in %g s.", error, RETRY_S)
                await asyncio.sleep(RETRY_S)


def _outcome(task: asyncio.Task[Prepared]) -> Prepared:
    """What became of the files; a defect of ours fails the job, and is told in the log."""
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, DiskFull):
        return Prepared(trouble=Trouble("disk_full", str(error)))
    log.error("tuning: preparing a job failed", exc_info=error)
    return Prepared(trouble=Trouble("internal_error", "The files could not be prepared; the server's log says why."))
