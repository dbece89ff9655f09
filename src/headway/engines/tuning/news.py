"""What a fine-tuning run tells as it goes on."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class TuneNews(Struct, frozen=True, kw_only=True, gc=False):
    """Something that has happened in a run.

    Parameters
    ----------
    what : str
        ``"loaded"``: the model is there, and so is what a run before this one left; ``"step"``: the optimizer has made
        a step; ``"validated"``; ``"checkpoint"``: one is on the disk.
    step : int
        Steps made so far.
    num_steps : int
        Steps of the whole run.
    tokens : int
        Tokens trained on so far: those that the loss is about, in every epoch.
    loss : float or None
        Of a step: mean over the trained tokens of its batch, in nats.
    valid_loss : float or None
        Of a validation: mean over its trained tokens, in nats. Of a checkpoint: the last one known.
    accuracy : float or None
        Of a step or a validation: share of the tokens that the model would have guessed.
    learning_rate : float or None
        Of a step: what it was made with.
    folder : str
        Of a checkpoint: where it lies, with the adapter as it was then in `adapter`.
    """

    what: Literal["loaded", "step", "validated", "checkpoint"]
    step: int
    num_steps: int
    tokens: int = 0
    loss: float | None = None
    valid_loss: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None
    folder: str = ""
