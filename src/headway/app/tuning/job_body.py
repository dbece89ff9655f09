"""The body of a new job: what may be in it, and what its maker wants by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from headway.app.server.body import decode_body
from headway.app.server.errors import ApiError, invalid
from headway.app.tuning.records import Wish
from headway.core.errors import ConfigError
from headway.engines.tuning.spec import TuneSpec

MAX_EPOCHS = 100
MAX_AT_ONCE_TOKENS = 1 << 15
MAX_BATCH = 1024
MAX_MULTIPLIER = 1000.0
MAX_SEED = 2**31 - 1
MAX_SUFFIX_CHARS = 64
MAX_NOTES = 16
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 512

SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Auto = Literal["auto"]


class Hyperparameters(Struct, forbid_unknown_fields=True):
    """OpenAI's hyperparameters of a job."""

    n_epochs: int | Auto | None = None
    batch_size: int | Auto | None = None
    learning_rate_multiplier: float | Auto | None = None


class Supervised(Struct, forbid_unknown_fields=True):
    """How a supervised job is trained."""

    hyperparameters: Hyperparameters | None = None


class Method(Struct, forbid_unknown_fields=True):
    """By which method a job is trained."""

    type: str
    supervised: Supervised | None = None
    dpo: Any = None
    reinforcement: Any = None


class Ours(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The `headway` field: what can be said of a run beyond OpenAI's hyperparameters; see `TuneSpec`."""

    rank: int | None = None
    alpha: float | None = None
    targets: list[str] | None = None
    dropout: float | None = None
    microbatch_tokens: int | None = None
    recompute: bool | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    warmup_frac: float | None = None
    weight_decay: float | None = None
    max_grad_norm: float | None = None
    checkpoint_steps: int | None = None
    dtype: str | None = None


class JobBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of POST /v1/fine_tuning/jobs."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: str | None = None
    seed: int | None = None
    hyperparameters: Hyperparameters | None = None
    method: Method | None = None
    metadata: dict[str, str] | None = None
    integrations: list[Any] | None = None
    headway: Ours | None = None


def job_body(raw: bytes) -> JobBody:
    """Read the body of a new job.

    Raises
    ------
    ApiError
        400 that names the parameter at fault.
    """
    body = decode_body(raw, JobBody)
    _check_method(body.method)
    if body.integrations:
        raise _unsupported("integrations")
    if body.suffix is not None and not (SUFFIX.fullmatch(body.suffix) and len(body.suffix) <= MAX_SUFFIX_CHARS):
        must = f"have from 1 to {MAX_SUFFIX_CHARS} letters, digits, '.', '_' and '-', and begin with no sign"
        raise invalid(f"`suffix` must {must}, got '{body.suffix[:99]}'.", "suffix")
    if body.seed is not None and not 0 <= body.seed <= MAX_SEED:
        raise invalid(f"`seed` must be from 0 to {MAX_SEED}, got {body.seed}.", "seed")
    check_notes(body.metadata or {})
    return body


def check_notes(notes: Mapping[str, str]) -> None:
    """Hold a job's metadata to OpenAI's limits.

    Raises
    ------
    ApiError
        400 when it is too much.
    """
    if len(notes) > MAX_NOTES:
        raise invalid(f"`metadata` must have at most {MAX_NOTES} pairs, got {len(notes)}.", "metadata")
    for key, value in notes.items():
        if len(key) > MAX_KEY_CHARS or len(value) > MAX_VALUE_CHARS:
            must = f"keys of at most {MAX_KEY_CHARS} and values of at most {MAX_VALUE_CHARS} characters"
            raise invalid(f"`metadata` must have {must}, got more at '{key[:99]}'.", "metadata")


def wish_of(body: JobBody) -> Wish:
    """What the maker of a job wants, with everything in its range.

    Raises
    ------
    ApiError
        400 that names the parameter at fault.
    """
    old, new = body.hyperparameters, None
    if body.method is not None and body.method.supervised is not None:
        new = body.method.supervised.hyperparameters
    wish = Wish(
        n_epochs=_chosen("n_epochs", old, new, MAX_EPOCHS),
        batch_size=_chosen("batch_size", old, new, MAX_BATCH),
        learning_rate_multiplier=_chosen("learning_rate_multiplier", old, new, MAX_MULTIPLIER),
        fields=_fields(body.headway or Ours()),
    )
    if wish.learning_rate_multiplier is not None and "learning_rate" in wish.fields:
        message = "Give either `learning_rate_multiplier` or `headway.learning_rate`, not both."
        raise invalid(message, "headway.learning_rate")
    return wish


def _chosen(name: str, old: Hyperparameters | None, new: Hyperparameters | None, most: float) -> Any:
    """The value of a hyperparameter wherever it is given, or None where it is left to us."""
    given = [value for place in (new, old) if (value := getattr(place, name, None)) not in (None, "auto")]
    if not given:
        return None
    if len(set(given)) > 1:
        message = (
            f"`hyperparameters.{name}` and `method.supervised.hyperparameters.{name}` must not contradict each other."
        )
        raise invalid(message, f"hyperparameters.{name}")
    low = 1 if isinstance(given[0], int) else 0
    if not (low <= given[0] <= most and given[0] > 0):
        raise invalid(f"`{name}` must be 'auto' or above 0 and at most {most:g}, got {given[0]}.", name)
    return given[0]


def _fields(ours: Ours) -> dict[str, Any]:
    """What is set of `TuneSpec`; its own checks know the ranges."""
    fields = {name: value for name, value in msgspec.to_builtins(ours).items() if value is not None}
    for name in fields:
        try:
            msgspec.convert({**_SOME, name: fields[name]}, TuneSpec)
        except (ConfigError, msgspec.ValidationError) as error:
            reason = str(error).removeprefix("tune: ")
            raise invalid(f"`headway.{name}`: {reason}", f"headway.{name}") from error
    if fields.get("microbatch_tokens", 0) > MAX_AT_ONCE_TOKENS:
        message = (
            f"`headway.microbatch_tokens` must be at most {MAX_AT_ONCE_TOKENS}, got {fields['microbatch_tokens']}."
        )
        raise invalid(message, "headway.microbatch_tokens")
    return fields


_SOME = {"job": "x", "model": "x", "name": "x", "tokens": "x", "folder": "x"}


def _check_method(method: Method | None) -> None:
    if method is None:
        return
    if method.type != "supervised":
        message = f"`method.type` must be 'supervised' here, got '{method.type[:99]}'."
        raise invalid(message, "method.type", "unsupported_parameter")
    for name in ("dpo", "reinforcement"):
        if getattr(method, name) is not None:
            raise _unsupported(f"method.{name}")


def _unsupported(name: str) -> ApiError:
    return invalid(f"`{name}` is not supported by this server. Leave it out.", name, "unsupported_parameter")
