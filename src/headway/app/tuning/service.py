"""The service of fine-tuning: what its routes can ask for."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from headway.app.server.errors import ApiError, forbidden, invalid, missing, taken, too_busy, unavailable, unknown_model
from headway.app.server.offered import Offer, Offers
from headway.app.tuning import transitions
from headway.app.tuning.adapters import fingerprint
from headway.app.tuning.dispatch import Dispatcher, Ended
from headway.app.tuning.files import Files
from headway.app.tuning.folder import FILE, JOB, StateFolder, new_id
from headway.app.tuning.job_body import MAX_SEED, JobBody, wish_of
from headway.app.tuning.ports import Preparer, Trainer
from headway.app.tuning.records import LIVE, TRAINING, CheckpointRecord, EventRecord, JobRecord, ModelRecord, StepRecord
from headway.app.tuning.store import Books, Store
from headway.app.tuning.tables import Listing, Page
from headway.app.tuning.troubles import NameTaken

MAX_LIVE_JOBS = 256
RETRY_AFTER_S = 60


class TuningService:
    """Files, jobs and tuned models of one server.

    Parameters
    ----------
    store, folder : Store, StateFolder
        The books, and where everything else is.
    trainer : Trainer
        Who trains.
    preparer : Preparer
        Who checks files and turns them into tokens.
    offers : Offers
        Where tuned models are offered.
    max_file_bytes : int
        The most that a file may have.
    on_models : callable
        Told the adapters behind all tuned models, folder by name, whenever they change.
    served : callable
        Returns the names of all models that can be asked for.

    Attributes
    ----------
    files : Files
        The files.
    dispatcher : Dispatcher
        What carries jobs to the trainer.
    closing : bool
        Whether the server ends.
    """

    def __init__(
        self,
        store: Store,
        folder: StateFolder,
        trainer: Trainer,
        preparer: Preparer,
        offers: Offers,
        *,
        max_file_bytes: int,
        on_models: Callable[[dict[str, str]], None],
        served: Callable[[], list[str]],
    ) -> None:
        self.files = Files(store, folder, preparer.faults, max_file_bytes)
        self.dispatcher = Dispatcher(store, folder, trainer, preparer, self._adopt)
        self.closing = False
        self._store = store
        self._folder = folder
        self._trainer = trainer
        self._offers = offers
        self._on_models = on_models
        self._served = served
        self._models: dict[str, ModelRecord] = {}

    def offer_all(self, models: Mapping[str, ModelRecord]) -> None:
        """Offer models that were tuned before."""
        self._models = dict(models)
        for model in models.values():
            self._offers.add(Offer(model.name, model.adapter, model.created_at))
        self._tell()

    async def close(self) -> None:
        """Come to an end; jobs under way are gone on with by the next server."""
        self.closing = True
        self.dispatcher.beat()
        await self.dispatcher.close()

    # Jobs --------------------------------------------------------------------------------------------------------

    async def create(self, owner: str, body: JobBody) -> JobRecord:
        """Make a job.

        Raises
        ------
        ApiError
            400 when a file is not there or a wish is out of range, 404 when there is no such model, 409 when the name
            is taken, 429 when too many jobs wait.
        """
        base = self._base(body.model)
        wish = wish_of(body)
        await self._check_file("training_file", body.training_file, owner)
        if body.validation_file:
            await self._check_file("validation_file", body.validation_file, owner)
        id = new_id(JOB)
        job = JobRecord(
            id=id,
            owner=owner,
            name=f"ft:{base}:{body.suffix or id}",
            base=base,
            training_file=body.training_file,
            validation_file=body.validation_file or "",
            created_at=transitions.now_s(),
            seed=secrets.randbelow(MAX_SEED) if body.seed is None else body.seed,
            wish=wish,
            suffix=body.suffix,
            metadata=body.metadata,
        )
        await self._enter(job)
        return job

    async def job(self, id: str, owner: str) -> JobRecord:
        """The job with this id.

        Raises
        ------
        ApiError
            404 when there is none of this owner's.
        """
        job = await self._store.do(lambda books: books.jobs.get(id, owner))
        if job is None:
            message = f"There is no job '{id[:99]}'. GET /v1/fine_tuning/jobs lists those that there are."
            raise missing(message, "fine_tuning_job_id")
        return job

    async def status(self, id: str) -> str:
        """How a job stands, whoever's it is."""
        job = await self._store.do(lambda books: books.jobs.get(id))
        return job.status if job is not None else "cancelled"

    async def jobs(self, owner: str, page: Page, notes: Mapping[str, str] | None) -> Listing[JobRecord]:
        """A part of an owner's jobs: those with all these notes, or for None those without any."""
        if notes is None:
            return await self._store.do(lambda books: books.jobs.without_metadata(owner, page))
        return await self._store.do(lambda books: books.jobs.page(owner, page, notes))

    async def events(self, id: str, page: Page) -> Listing[EventRecord]:
        """A part of what happened to a job."""
        return await self._store.do(lambda books: books.events.listing(id, page))

    async def checkpoints(self, id: str, page: Page) -> tuple[Listing[CheckpointRecord], dict[int, StepRecord]]:
        """A part of a job's checkpoints, and what was measured at their steps."""

        def read(books: Books) -> tuple[Listing[CheckpointRecord], dict[int, StepRecord]]:
            listing = books.checkpoints.listing(id, page)
            steps = books.steps.at(id, [checkpoint.step for checkpoint in listing.records])
            return listing, {step.step: step for step in steps}

        return await self._store.do(read)

    async def cancel(self, id: str, owner: str) -> JobRecord:
        """Give a job up; 404 as for `job`, `NotNow` when it is over."""
        job = await self._change(id, owner, transitions.cancelled)
        if self.dispatcher.sent != id:
            await self.dispatcher.clear(id)
        return job

    async def pause(self, id: str, owner: str) -> JobRecord:
        """Let a job wait; 404 as for `job`, `NotNow` when it is over or waits."""
        return await self._change(id, owner, transitions.paused)

    async def resume(self, id: str, owner: str) -> JobRecord:
        """Let a job go on; 404 as for `job`, `NotNow` when it does not wait."""
        return await self._change(id, owner, transitions.resumed)

    def finish_of(self, job: JobRecord) -> int | None:
        """When a job will be done, as far as anybody knows, in seconds of the Unix epoch."""
        progress = self.dispatcher.progress
        return progress.finish() if job.status == "running" and job.id == progress.job else None

    async def counts(self) -> dict[str, int]:
        """How many jobs there are of each status."""
        return await self._store.do(lambda books: books.jobs.counts())

    # Models ------------------------------------------------------------------------------------------------------

    async def delete_model(self, name: str, owner: str) -> None:
        """Offer a tuned model no longer, and remove its adapter.

        Raises
        ------
        ApiError
            404 when there is none, 403 when it is not this owner's or was not tuned here.
        """
        model = self._models.get(name)
        if model is None:
            if name in self._served():
                raise forbidden(f"The model '{name}' was not fine-tuned here, so it cannot be deleted here.")
            raise unknown_model(name)
        if model.owner != owner:
            raise forbidden(f"The model '{name}' can only be deleted with the API key that it was made with.")
        await self._store.do(lambda books: books.models.drop(name))
        self._models.pop(name, None)
        self._offers.remove(name)
        self._tell()
        await asyncio.to_thread(shutil.rmtree, self._folder.jobs / model.job, ignore_errors=True)

    async def _adopt(self, ended: Ended) -> bool:
        """Offer what came of a job."""
        job = await self._store.do(lambda books: books.jobs.get(ended.job))
        if job is None or not Path(ended.folder).is_dir():
            raise LookupError(f"tuning: a finished job must be known and have its adapter, got {ended}")
        model = ModelRecord(
            name=job.name,
            owner=job.owner,
            job=job.id,
            base=job.base,
            fits=fingerprint(self._trainer.model),
            adapter=job.adapter,
            folder=ended.folder,
            created_at=transitions.now_s(),
        )
        if not await self._store.do(lambda books: transitions.succeeded(books, job.id, model, self._results)):
            return False
        self._models[model.name] = model
        self._offers.add(Offer(model.name, model.adapter, model.created_at))
        self._tell()
        return True

    def _results(self, books: Books, job: JobRecord, text: str) -> str:
        return self.files.results(books, new_id(FILE), job.owner, "step_metrics.csv", text).id

    def _tell(self) -> None:
        self._on_models({model.adapter: model.folder for model in self._models.values()})

    # Checks ------------------------------------------------------------------------------------------------------

    def _base(self, name: str) -> str:
        base = self._trainer.base
        if not base:
            raise unavailable("the engine has not been ready yet", "engine_starting")
        if name in self._served() and name != base:
            message = f"Only the base model '{base}' can be fine-tuned here, and '{name}' is an adapter of it."
            raise invalid(message, "model")
        if name != base:
            raise unknown_model(name)
        return base

    async def _check_file(self, param: str, id: str, owner: str) -> None:
        try:
            file = await self.files.find(id, owner)
        except ApiError as error:
            raise invalid(f"`{param}`: {error.body.message}", param, "file_not_found") from error
        if file.purpose != TRAINING:
            message = f"`{param}` must be a file with the purpose '{TRAINING}', got '{file.purpose}'."
            raise invalid(message, param, "invalid_purpose")

    async def _enter(self, job: JobRecord) -> None:
        if job.name in self._served():
            raise _served_already(job.name)

        def enter(books: Books) -> None:
            model = books.models.get(job.name)  # one that was made this very moment is not offered yet
            if model is not None and model.fits == fingerprint(self._trainer.model):
                raise _served_already(job.name)
            if len(books.jobs.live()) >= MAX_LIVE_JOBS:
                raise too_busy(RETRY_AFTER_S)
            transitions.created(books, job)

        try:
            await self._store.do(enter)
        except NameTaken as error:
            raise taken(f"{error} Choose another suffix, or cancel that job.", "suffix") from error
        self.dispatcher.beat()

    async def _change(self, id: str, owner: str, how: Callable[[Books, str], JobRecord]) -> JobRecord:
        await self.job(id, owner)
        job = await self._store.do(lambda books: how(books, id))
        if job.status not in LIVE or job.status == "paused":
            self.dispatcher.leave(id)
        self.dispatcher.beat()
        return job


def _served_already(name: str) -> ApiError:
    message = f"A model named '{name}' is served already. Choose another suffix, or delete that model."
    return taken(message, "suffix")
