"""What is remembered of files, jobs, events, checkpoints and tuned models."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

LIVE = ("validating_files", "queued", "running", "paused")
"""States of a job that may still become a model."""

OVER = ("succeeded", "failed", "cancelled")
"""States that a job never leaves."""

TRAINING = "fine-tune"
RESULTS = "fine-tune-results"
"""Purposes of files: what is trained on, and what a job leaves behind."""


class FileRecord(Struct, frozen=True, kw_only=True):
    """One uploaded or produced file; times are whole seconds of the Unix epoch."""

    id: str
    owner: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int | None = None


class Trouble(Struct, frozen=True):
    """Why a job failed: a word for programs, a sentence for people, and the parameter at fault."""

    code: str
    message: str
    param: str | None = None


class Wish(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job's maker left to us (None) or chose: OpenAI's hyperparameters, and fields of `TuneSpec` beyond them."""

    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    fields: dict[str, Any] = {}


class JobRecord(Struct, frozen=True, kw_only=True):
    """One fine-tuning job.

    Parameters
    ----------
    id, owner : str
        Its id, and the tenant that made it.
    name : str
        What the tuned model will be called.
    base : str
        The name of the model it starts from.
    training_file, validation_file : str
        Ids of files; no validation when empty.
    seed : int
        Of the order of the data and of all dice.
    wish : Wish
        How its maker wants it trained.
    suffix : str or None
        What its maker wants in the name.
    metadata : dict of str to str, or None
        Its maker's own notes.
    created_at, finished_at : int
        Seconds of the Unix epoch; `finished_at` is None until it is over.
    status : str
        One of `LIVE` or `OVER`.
    spec : dict or None
        The fields of the `TuneSpec` that the engine is sent; None until the files are validated.
    trouble : Trouble or None
        Why it failed.
    trained_tokens : int
        Tokens trained so far.
    result_file : str
        Id of the file of metrics; empty until there is one.
    """

    id: str
    owner: str
    name: str
    base: str
    training_file: str
    created_at: int
    seed: int
    validation_file: str = ""
    wish: Wish = Wish()
    suffix: str | None = None
    metadata: dict[str, str] | None = None
    finished_at: int | None = None
    status: str = "validating_files"
    spec: dict[str, Any] | None = None
    trouble: Trouble | None = None
    trained_tokens: int = 0
    result_file: str = ""

    @property
    def adapter(self) -> str:
        """The name of its adapter at the engine: never used twice, whatever models are called later."""
        return f"{self.name}@{self.id}"


class EventRecord(Struct, frozen=True, kw_only=True):
    """Something that happened to a job; `kind` is ``"message"`` or ``"metrics"``."""

    id: str
    created_at: int
    message: str
    level: str = "info"
    kind: str = "message"
    data: dict[str, Any] | None = None


class StepRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one optimizer step, or the validation after it, told; None for what was not measured."""

    step: int
    train_loss: float | None = None
    valid_loss: float | None = None
    train_accuracy: float | None = None
    valid_accuracy: float | None = None
    learning_rate: float | None = None
    tokens: int | None = None


class CheckpointRecord(Struct, frozen=True, kw_only=True):
    """A point of a job from which training can go on."""

    id: str
    job: str
    created_at: int
    step: int


class ModelRecord(Struct, frozen=True, kw_only=True):
    """A tuned model: its name, its adapter's name at the engine, where that lies, and what it is an adapter of.

    `base` is the name of that model, and `fits` tells models of unlike shapes apart, whatever they are called.
    """

    name: str
    owner: str
    job: str
    base: str
    fits: str
    adapter: str
    folder: str
    created_at: int
