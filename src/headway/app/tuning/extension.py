"""Fine-tuning as a part of the server: what is made before the engine starts, hears it, and ends with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headway.app.server.errors import unavailable
from headway.app.server.service import Service
from headway.app.tuning.adapters import fitting
from headway.app.tuning.api import TuningRoutes
from headway.app.tuning.child import ChildPreparer
from headway.app.tuning.folder import FolderInUse, StateFolder, default_folder
from headway.app.tuning.line import EngineLine
from headway.app.tuning.ports import Preparer
from headway.app.tuning.records import LIVE, OVER, ModelRecord
from headway.app.tuning.service import TuningService
from headway.app.tuning.store import Books, Store
from headway.core.errors import ConfigError
from headway.engines.llm.client import News
from headway.engines.llm.config import EngineConfig

log = logging.getLogger(__name__)

LOOK_S = 600.0
"""How often files are looked through for those whose time is over."""


class TuningExtension:
    """Fine-tuning on one server.

    Parameters
    ----------
    service : Service
        The server's shared state.
    folder : StateFolder
        Where files, jobs and models are; this gives it back.
    preparer : Preparer or None
        Who checks files and turns them into tokens; a process of its own by default.

    Attributes
    ----------
    tuning : TuningService
        What the routes ask.

    Raises
    ------
    ConfigError
        When the books cannot be read.
    """

    def __init__(self, service: Service, folder: StateFolder, preparer: Preparer | None = None) -> None:
        config = service.config
        self._service = service
        self._folder = folder
        self._store = Store(folder.books)
        self._line = EngineLine(service.engine, config.engine.model)
        self._adapters = dict(config.engine.adapters)
        self.tuning = TuningService(
            self._store,
            folder,
            self._line,
            preparer or ChildPreparer(self._path_of, config.engine.model, lambda: self._line.context_tokens),
            service.offers,
            max_file_bytes=config.max_file_bytes,
            on_models=self._tell_engine,
            served=self._served,
        )
        self._tasks: list[asyncio.Task[None]] = []
        models = self._store.now(lambda books: _tidied(books, folder))
        self.tuning.offer_all(fitting(models, base_name(config.engine), config.engine.model))

    def routes(self) -> Sequence[Route]:
        """Files, jobs and the deletion of models."""
        return TuningRoutes(self.tuning, self._service.config.max_body_bytes).table()

    @property
    def in_words(self) -> str:
        """For people: where it is, and where it keeps its state."""
        return f"/v1/fine_tuning/jobs, files and jobs in {self._folder.path}"

    def note(self, news: News) -> None:
        """Hear what the engine says."""
        self._line.note(news, self.tuning.dispatcher)

    def measure(self) -> None:
        """Tell how the job that runs goes."""
        metrics, progress = self._service.metrics, self.tuning.dispatcher.progress
        running = bool(self.tuning.dispatcher.sent)
        metrics.count("headway_tuning_tokens", by=progress.taken())
        metrics.put("headway_tuning_loss", progress.loss or 0.0)
        metrics.put("headway_tuning_tokens_per_second", progress.tokens_per_s if running else 0.0)

    async def open(self) -> None:
        """Begin to work."""
        self.tuning.dispatcher.open()
        self._tasks = [asyncio.create_task(self._count()), asyncio.create_task(self._expire())]

    async def close(self) -> None:
        """Stop working."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.tuning.close()

    def release(self) -> None:
        """Close the books, and leave the folder to others."""
        self._store.close()
        self._folder.release()

    def _path_of(self, id: str) -> Path:
        return self.tuning.files.path_of(id)

    def _served(self) -> list[str]:
        names = [self._line.base or base_name(self._service.config.engine)]
        return [*names, *self._adapters, *self._service.offers.names]

    def _tell_engine(self, adapters: dict[str, str]) -> None:
        """Have the engine know all tuned adapters whenever it is started again."""
        engine = self._service.engine
        engine.config = msgspec.structs.replace(engine.config, adapters={**self._adapters, **adapters})

    async def _count(self) -> None:
        while True:
            beat = self.tuning.dispatcher.changed.next
            counts = await self.tuning.counts()
            for status in (*LIVE, *OVER):
                self._service.metrics.put("headway_tuning_jobs", counts.get(status, 0), (status,))
            await beat.wait()

    async def _expire(self) -> None:
        while True:
            await self.tuning.files.expire()
            await asyncio.sleep(LOOK_S)


class NoTuning:
    """What stands in for fine-tuning where it cannot be offered: it says why.

    Parameters
    ----------
    why : str
        As a clause.
    """

    def __init__(self, why: str) -> None:
        self.why = why

    def routes(self) -> Sequence[Route]:
        """The same as if it were there."""
        paths = ("/v1/files", "/v1/files/{rest:path}", "/v1/fine_tuning/{rest:path}")
        return [Route(path, self._refuse, methods=["GET", "POST", "DELETE"]) for path in paths]

    @property
    def in_words(self) -> str:
        """For people: that it is off, and why."""
        return f"off, for {self.why}"

    def note(self, news: News) -> None:
        """Not of interest."""

    def measure(self) -> None:
        """There is nothing to measure."""

    async def open(self) -> None:
        """There is nothing to do."""

    async def close(self) -> None:
        """There is nothing to end."""

    def release(self) -> None:
        """There is nothing to give back."""

    async def _refuse(self, _: Request) -> Response:
        raise unavailable(f"fine-tuning is off, for {self.why}", "tuning_off")


def extend(service: Service) -> TuningExtension | NoTuning:
    """Make fine-tuning a part of a server.

    Where nobody named a state folder and the usual one is in use by another server, there is no fine-tuning here.

    Raises
    ------
    ConfigError
        When the state folder that was named is in use, or a folder cannot be used at all.
    """
    if not service.config.engine.tuner:
        return NoTuning("the engine has no tuner")
    named = service.config.state_dir
    try:
        folder = StateFolder(Path(named) if named else default_folder())
    except FolderInUse as error:
        if named:
            raise ConfigError(f"server: state_dir must be one server's own, but {error}. Give another.") from error
        log.warning("tuning: off, for %s; --state-dir DIR gives this server a folder of its own", error)
        return NoTuning(f"{error}; start this one with --state-dir DIR")
    try:
        return TuningExtension(service, folder)
    except BaseException:
        folder.release()
        raise


def base_name(engine: EngineConfig) -> str:
    """The name under which an engine serves its model, as far as its configuration says."""
    return engine.name or engine.model.rstrip("/").rpartition("/")[2]


def _tidied(books: Books, folder: StateFolder) -> list[ModelRecord]:
    """Remove what a server that was cut off left behind; returns all tuned models."""
    lying = {path.name for path in folder.files.iterdir()}
    for id in books.files.every_id() - lying:
        log.warning("tuning: the file %s is gone from %s", id, folder.files)
        books.files.drop(id)
    models = books.models.every()
    jobs = {job.id for job in books.jobs.live()} | {model.job for model in models}
    folder.tidy(books.files.every_id(), jobs)
    return models
