"""Files, jobs, events and checkpoints as OpenAI's clients know them."""

from __future__ import annotations

from typing import Any

import msgspec

from headway.app.tuning.records import CheckpointRecord, EventRecord, FileRecord, JobRecord, StepRecord
from headway.engines.tuning.spec import TuneSpec

LEARNING_RATE: float = {field.name: field.default for field in msgspec.structs.fields(TuneSpec)}["learning_rate"]
"""What a multiplier of 1 stands for."""

OURS = (
    "rank", "alpha", "targets", "dropout", "microbatch_tokens", "recompute", "learning_rate", "schedule", "warmup_frac",
    "weight_decay", "max_grad_norm", "checkpoint_steps", "dtype",
)  # fmt: skip
"""Fields of a `TuneSpec` that a job can set under `headway`, beyond OpenAI's hyperparameters."""


def file_object(file: FileRecord) -> dict[str, object]:
    """A file."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def job_object(job: JobRecord, estimated_finish: int | None = None) -> dict[str, object]:
    """A job; with `estimated_finish` in seconds of the Unix epoch while it runs."""
    chosen = hyperparameters(job)
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "estimated_finish": estimated_finish,
        "status": job.status,
        "error": msgspec.to_builtins(job.trouble) if job.trouble else None,
        "model": job.base,
        "fine_tuned_model": job.name if job.status == "succeeded" else None,
        "organization_id": "headway",
        "training_file": job.training_file,
        "validation_file": job.validation_file or None,
        "result_files": [job.result_file] if job.result_file else [],
        "trained_tokens": job.trained_tokens if job.finished_at is not None else None,
        "seed": job.seed,
        "hyperparameters": chosen,
        "method": {"type": "supervised", "supervised": {"hyperparameters": chosen}},
        "user_provided_suffix": job.suffix,
        "metadata": job.metadata,
        "integrations": [],
        "headway": {name: job.spec[name] for name in OURS} if job.spec else job.wish.fields,
    }


def hyperparameters(job: JobRecord) -> dict[str, object]:
    """What OpenAI's hyperparameters are, or will be chosen by us."""
    wish, spec = job.wish, job.spec
    if spec is None:
        names = ("n_epochs", "batch_size", "learning_rate_multiplier")
        return {name: getattr(wish, name) or "auto" for name in names}
    return {
        "n_epochs": spec["num_epochs"],
        "batch_size": spec["batch_size"],
        "learning_rate_multiplier": round(spec["learning_rate"] / LEARNING_RATE, 9),
    }


def event_object(event: EventRecord) -> dict[str, object]:
    """An event of a job."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": event.created_at,
        "level": event.level,
        "message": event.message,
        "type": event.kind,
        "data": event.data,
    }


def checkpoint_object(job: JobRecord, checkpoint: CheckpointRecord, step: StepRecord | None) -> dict[str, object]:
    """A checkpoint of a job, with what was measured at its step."""
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": f"{job.name}:ckpt-step-{checkpoint.step}",
        "fine_tuning_job_id": checkpoint.job,
        "metrics": measured(step or StepRecord(step=checkpoint.step)),
        "step_number": checkpoint.step,
    }


def measured(step: StepRecord) -> dict[str, Any]:
    """What was measured at a step, under OpenAI's names; what was not is left out."""
    found = {
        "step": step.step,
        "train_loss": step.train_loss,
        "train_mean_token_accuracy": step.train_accuracy,
        "full_valid_loss": step.valid_loss,
        "full_valid_mean_token_accuracy": step.valid_accuracy,
    }
    return {name: value for name, value in found.items() if value is not None}
