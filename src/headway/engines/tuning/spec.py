"""What a fine-tuning run is told before it starts."""

from __future__ import annotations

import math

from msgspec import Struct

from headway.core.errors import ConfigError

SCHEDULES = ("linear", "cosine", "constant")
"""How the learning rate may go after its warm-up: down a line, down half a cosine, or nowhere."""

DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")


class TuneSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run: a LoRA adapter of one base model, trained on prepared examples.

    Parameters
    ----------
    job : str
        Id of the run.
    model : str
        The base model: a folder or hub id of a decoder-only checkpoint that `transformers` can load.
    name : str
        What the adapter is called.
    tokens : str
        File of prepared training examples.
    valid_tokens : str
        File of prepared validation examples; empty for none.
    folder : str
        Where checkpoints, the loss curve and the finished adapter go; made if it is not there.
    rank : int
        Width of the adapter, in 1..1024; 8.
    alpha : float
        The adapter is scaled by ``alpha / rank``; > 0; 16.
    targets : tuple of str
        Last parts of the names of the linear layers to adapt, such as ``"q_proj"``; empty for all within the decoder
        layers.
    dropout : float
        Share of the inputs of the adapter that is dropped while training, in [0, 1); 0.
    num_epochs : int
        How often every example is seen, >= 1; 3.
    batch_size : int
        Examples per step of the optimizer, >= 1; 8.
    microbatch_tokens : int
        The most tokens, padding included, that are computed at once, >= 1; 512. A longer example is computed alone.
    recompute : bool
        Whether activations are not kept but computed again on the way back, from what enters each layer; False. It
        takes about a third more time and a twentieth of the memory, and comes to the same.
    learning_rate : float
        Of AdamW after the warm-up, > 0; 2e-4.
    schedule : str
        ``"linear"`` (default), ``"cosine"`` or ``"constant"``: how the learning rate goes on after the warm-up.
    warmup_frac : float
        Share of the steps in which the learning rate rises from 0, in [0, 1); 0.03.
    weight_decay : float
        Of AdamW, >= 0; 0.
    max_grad_norm : float
        Longer gradients are shortened to this norm, >= 0; 1. 0 leaves them as they are.
    seed : int
        Of the order of examples, the first weights of the adapter and dropout, >= 0; 0.
    checkpoint_steps : int
        Steps from one checkpoint to the next, >= 0; 10. There is one at the end of each epoch anyway.
    dtype : str
        Type of the base weights: ``"float32"`` (default), ``"bfloat16"`` or ``"float16"`` (GPU only). The adapter is
        always trained in float32.
    device : str
        ``"auto"`` (default; a GPU where there is one), ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ConfigError
        When a value is out of its range.
    """

    job: str
    model: str
    name: str
    tokens: str
    valid_tokens: str = ""
    folder: str
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    dropout: float = 0.0
    num_epochs: int = 3
    batch_size: int = 8
    microbatch_tokens: int = 512
    recompute: bool = False
    learning_rate: float = 2e-4
    schedule: str = "linear"
    warmup_frac: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    seed: int = 0
    checkpoint_steps: int = 10
    dtype: str = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        for what in ("job", "model", "name", "tokens", "folder"):
            _check(what, bool(getattr(self, what)), "some text", "''", "Name it")
        self._check_counts()
        self._check_numbers()
        _check("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}", self.schedule, "Try linear")
        _check("dtype", self.dtype in DTYPES, f"one of {', '.join(DTYPES)}", self.dtype, "Try float32")
        _check("device", self.device in DEVICES, f"one of {', '.join(DEVICES)}", self.device, "Try auto")
        _check("targets", all(self.targets), "names of linear layers", self.targets, "Leave it out for all of them")

    def _check_counts(self) -> None:
        _check("rank", 1 <= self.rank <= 1024, "in 1..1024", self.rank, "Try 8")
        _check("num_epochs", self.num_epochs >= 1, ">= 1", self.num_epochs, "Try 3")
        _check("batch_size", self.batch_size >= 1, ">= 1", self.batch_size, "Try 8")
        _check("microbatch_tokens", self.microbatch_tokens >= 1, ">= 1", self.microbatch_tokens, "Try 512")
        _check("seed", self.seed >= 0, ">= 0", self.seed, "Try 0")
        _check("checkpoint_steps", self.checkpoint_steps >= 0, ">= 0", self.checkpoint_steps, "Try 10")

    def _check_numbers(self) -> None:
        _check("alpha", 0 < self.alpha < math.inf, "> 0", self.alpha, "Try twice the rank")
        _check("dropout", 0 <= self.dropout < 1, "in [0, 1)", self.dropout, "Try 0")
        _check("learning_rate", 0 < self.learning_rate < math.inf, "> 0", self.learning_rate, "Try 2e-4")
        _check("warmup_frac", 0 <= self.warmup_frac < 1, "in [0, 1)", self.warmup_frac, "Try 0.03")
        _check("weight_decay", 0 <= self.weight_decay < math.inf, ">= 0", self.weight_decay, "Try 0")
        _check("max_grad_norm", 0 <= self.max_grad_norm < math.inf, ">= 0", self.max_grad_norm, "Try 1")


def _check(what: str, holds: bool, must: str, came: object, advice: str) -> None:
    if not holds:
        raise ConfigError(f"tune: {what} must be {must}, got {came}. {advice}.")
