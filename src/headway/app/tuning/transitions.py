"""What may become of a job, and what is said about it; each inside one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from headway.app.tuning.folder import new_id
from headway.app.tuning.objects import measured
from headway.app.tuning.records import LIVE, CheckpointRecord, EventRecord, JobRecord, ModelRecord, StepRecord, Trouble
from headway.app.tuning.store import Books
from headway.core.errors import HeadwayError
from headway.engines.tuning.news import TuneNews

Results = Callable[[Books, JobRecord, str], str]
"""Writes the results of a job as a file; takes its text, and returns the file's id."""


class NotNow(HeadwayError, RuntimeError):
    """A job is not in a state in which that can be done."""


def now_s() -> int:
    """Whole seconds of the Unix epoch."""
    return int(time.time())


def say(books: Books, job: str, message: str, *, level: str = "info", data: dict[str, Any] | None = None) -> None:
    """Note that something happened to a job."""
    event = EventRecord(id=new_id("ftevent"), created_at=now_s(), message=message, level=level, data=data)
    books.events.add(job, event)


def created(books: Books, job: JobRecord) -> None:
    """Enter a new job."""
    books.jobs.add(job)
    say(books, job.id, f"Created fine-tuning job: {job.id}")
    files = " and ".join(file for file in (job.training_file, job.validation_file) if file)
    say(books, job.id, f"Validating files: {files}")


def validated(books: Books, id: str, spec: dict[str, Any], counts: dict[str, int]) -> None:
    """The files of a job are good, and turned into tokens."""
    job = _of(books, id)
    if job.status == "validating_files":
        _put(books, job, status="queued", spec=spec)
        text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        say(books, id, f"Files validated: {text}. The job is queued.", data=dict(counts))


def started(books: Books, id: str) -> bool:
    """A job goes to the engine; says whether it still wants to."""
    job = _of(books, id)
    if job.status not in ("queued", "running"):
        return False
    if job.status == "queued":
        _put(books, job, status="running")
    return True


def is_left(books: Books, id: str) -> bool:
    """Whether a job that was started does not want to go on any more."""
    return _of(books, id).status != "running"


def told(books: Books, id: str, news: TuneNews) -> bool:
    """A job goes on; says whether that was new, for after a restart some steps are made again."""
    job = _of(books, id)
    if news.what == "loaded":
        goes_on = (
            f"goes on after step {news.step} of {news.num_steps}" if news.step else f"begins: {news.num_steps} steps"
        )
        say(books, id, f"Training {goes_on}.", data={"step": news.step, "total_steps": news.num_steps})
        return False
    if news.what == "checkpoint":
        return _kept(books, id, news)
    if not books.steps.note(id, _step_of(news)):
        return False
    if news.what == "step" and news.tokens > job.trained_tokens:
        _put(books, job, trained_tokens=news.tokens)
    _say_step(books, id, news)
    return True


def caught_up(books: Books, id: str, curve: Iterable[TuneNews]) -> None:
    """Take in what was computed and never told: steps made while the server ended, or its disk was full."""
    for news in curve:
        told(books, id, news)


def succeeded(books: Books, id: str, model: ModelRecord, results: Results) -> bool:
    """A job is done, and its model is there; says whether anybody still wants it."""
    job = _of(books, id)
    if job.status not in LIVE:
        return False
    file = results(books, job, curve_csv(books.steps.of(id)))
    books.models.add(model)
    _put(books, job, status="succeeded", finished_at=now_s(), result_file=file)
    say(books, id, f"New fine-tuned model created: {model.name}")
    say(books, id, "The job has successfully completed.")
    return True


def failed(books: Books, id: str, trouble: Trouble) -> None:
    """A job cannot go on."""
    job = _of(books, id)
    if job.status in LIVE:
        _put(books, job, status="failed", finished_at=now_s(), trouble=trouble)
        say(books, id, trouble.message, level="error")


def given_up(books: Books, id: str, why: str) -> None:
    """The engine stopped a job that nobody here asked it to stop."""
    job = _of(books, id)
    if job.status == "running":
        _put(books, job, status="cancelled", finished_at=now_s())
        say(books, id, f"The engine gave the job up: {why or 'no reason given'}", level="warn")


def cancelled(books: Books, id: str) -> JobRecord:
    """Its maker wants it no more.

    Raises
    ------
    NotNow
        When it is over.
    """
    job = _of(books, id)
    if job.status not in LIVE:
        raise NotNow(f"The job {id} cannot be cancelled, for it has {_in_words(job)}.")
    say(books, id, "Fine-tuning job cancelled")
    return _put(books, job, status="cancelled", finished_at=now_s())


def paused(books: Books, id: str) -> JobRecord:
    """Its maker wants it to wait.

    Raises
    ------
    NotNow
        When it is over or waits already.
    """
    job = _of(books, id)
    if job.status not in LIVE or job.status == "paused":
        raise NotNow(f"The job {id} cannot be paused, for it has {_in_words(job)}.")
    say(books, id, "Fine-tuning job paused")
    return _put(books, job, status="paused")


def resumed(books: Books, id: str) -> JobRecord:
    """Its maker wants it to go on.

    Raises
    ------
    NotNow
        When it does not wait.
    """
    job = _of(books, id)
    if job.status != "paused":
        raise NotNow(f"The job {id} cannot be resumed, for it is not paused but {job.status}.")
    say(books, id, "Fine-tuning job resumed")
    return _put(books, job, status="validating_files" if job.spec is None else "queued")


def curve_csv(steps: list[StepRecord]) -> str:
    """What was measured, one line per step."""
    names = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "learning_rate", "tokens")
    rows = [["" if (value := getattr(step, name)) is None else str(value) for name in names] for step in steps]
    return "\n".join(",".join(row) for row in [list(names), *rows]) + "\n"


def _kept(books: Books, id: str, news: TuneNews) -> bool:
    checkpoint = CheckpointRecord(id=new_id("ftckpt"), job=id, created_at=now_s(), step=news.step)
    new = books.checkpoints.add(checkpoint)
    if new:
        say(books, id, f"Checkpoint created at step {news.step}", data={"step": news.step})
    return new


def _step_of(news: TuneNews) -> StepRecord:
    if news.what == "validated":
        return StepRecord(step=news.step, valid_loss=news.valid_loss, valid_accuracy=news.accuracy)
    return StepRecord(
        step=news.step,
        train_loss=news.loss,
        train_accuracy=news.accuracy,
        learning_rate=news.learning_rate,
        tokens=news.tokens,
    )


def _say_step(books: Books, id: str, news: TuneNews) -> None:
    step = _step_of(news)
    loss = f"training loss={step.train_loss:.4f}" if step.train_loss is not None else ""
    loss = f"validation loss={step.valid_loss:.4f}" if step.valid_loss is not None else loss
    event = EventRecord(
        id=new_id("ftevent"),
        created_at=now_s(),
        message=f"Step {news.step}/{news.num_steps}: {loss}",
        kind="metrics",
        data={**measured(step), "total_steps": news.num_steps, "trained_tokens": news.tokens},
    )
    books.events.add(id, event)


def _of(books: Books, id: str) -> JobRecord:
    job = books.jobs.get(id)
    if job is None:
        raise LookupError(f"tuning: there must be a job {id}, and there is none")
    return job


def _put(books: Books, job: JobRecord, **changes: Any) -> JobRecord:
    changed = msgspec.structs.replace(job, **changes)
    books.jobs.put(changed)
    return changed


def _in_words(job: JobRecord) -> str:
    words = {"cancelled": "been cancelled", "paused": "been paused"}
    return words.get(job.status, job.status)
