"""What is left to us of a job, chosen: from its maker's wishes to what the engine is told."""

from __future__ import annotations

from headway.app.tuning.objects import LEARNING_RATE
from headway.app.tuning.ports import Prepared
from headway.app.tuning.records import JobRecord
from headway.engines.tuning.spec import TuneSpec

EPOCHS = 3
BATCH = 8


def spec_of(job: JobRecord, prepared: Prepared, model: str, folder: str) -> TuneSpec:
    """Fill in what the maker of a job left to us.

    Parameters
    ----------
    job : JobRecord
        The job.
    prepared : Prepared
        Its tokens.
    model : str
        The folder or hub id of its base.
    folder : str
        Where its checkpoints and its adapter go.
    """
    wish = job.wish
    rate = LEARNING_RATE * (wish.learning_rate_multiplier or 1.0)
    fields = {"learning_rate": rate, **wish.fields}
    fields["targets"] = tuple(fields.get("targets", ()))
    return TuneSpec(
        job=job.id,
        model=model,
        name=job.adapter,
        tokens=prepared.tokens,
        valid_tokens=prepared.valid_tokens,
        folder=folder,
        num_epochs=wish.n_epochs or EPOCHS,
        batch_size=wish.batch_size or min(BATCH, prepared.counts.get("examples", BATCH)),
        seed=job.seed,
        **fields,
    )
