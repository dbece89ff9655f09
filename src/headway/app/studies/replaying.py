"""Play what was recorded again, under this policy or another, and hold the two against each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from headway.app.studies.choice import choice
from headway.app.studies.job import Job, job_of
from headway.app.studies.recipe import Recipe, scenario_class
from headway.app.studies.result import PERCENTS
from headway.core.actions import Action, Wake
from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.core.trace import TraceHeader, read_header, read_trace
from headway.traces.spec import TraceSpec

PLACES = ("instance", "to", "resource", "on")
"""Keys of actions that hold names of places."""
BY_NAME = ("on", "speculate")
"""Keys of actions that hold tables by name."""
WORDS = ("type", "why", "phase")
"""Keys of actions that hold words, not names."""
METRICS = ("queue_s", "ttft_s", "tpot_s", "e2e_s")
"""What is compared of what was measured."""


@dataclass(frozen=True)
class Difference:
    """The first decision that is not the same.

    Parameters
    ----------
    number : int
        How many were the same before it.
    at_s : float
        When it was taken, in seconds of the recording; NaN when the recording has ended.
    recorded, replayed : dict or None
        What was decided; None where there was nothing more.
    """

    number: int
    at_s: float
    recorded: dict[str, Any] | None
    replayed: dict[str, Any] | None


def replay_job(recording: Path, recipe: Recipe, policy: str = "") -> Job:
    """Return the run that plays a recording again.

    Parameters
    ----------
    recording : Path
        Written by ``headway run --record`` or by a live server.
    recipe : Recipe
        Whose hardware, model and promises hold; its trace does not count.
    policy : str
        Who decides; who did then, by default, with the parameters of then.

    Raises
    ------
    TraceError, ConfigError, UnknownName
        When the file is no recording, or is of another family, or nobody is known to decide.
    """
    header = read_header(recording)
    if header.family and header.family != recipe.family:
        raise ConfigError(f"{recording}: family must be {recipe.family} as in {recipe.path}, got {header.family}.")
    said = policy or header.policy
    if not said:
        raise ConfigError(f"{recording}: the policy must be known, and the recording does not say it. Try --policy ID.")
    setting = {**recipe.setting, "trace": {"source": str(recording.resolve())}}
    known = {one.label: one for one in recipe.policies}
    who = known.get(policy) or choice({**header.params, "id": said} if said == header.policy else said, "--policy")
    return job_of(recipe.but(setting=setting), who, seed=header.seed)


def measured(recording: Path) -> dict[str, dict[str, float]]:
    """Return mean and percentiles of what the senders of the recorded requests felt."""
    table = TraceSpec(source=str(recording)).read().table
    found: dict[str, dict[str, float]] = {}
    for metric in METRICS:
        column = table.measured.get(metric, np.empty(0))
        values = column[np.isfinite(column)]
        if len(values):
            quantiles = {f"p{percent}": float(np.quantile(values, percent / 100)) for percent in PERCENTS}
            found[metric] = {"mean": float(values.mean()), **quantiles}
    return found


def first_difference(recorded: Path, replayed: Path, family: str) -> Difference | None:
    """Find the first decision in which two recordings of the same requests differ; None when all are the same.

    Names of requests and of instances may differ: they are matched by the order in which they appear.
    """
    scenario_class(family)  # brings the nouns of the family, which the files are made of
    pairs = itertools.zip_longest(_decisions(recorded), _decisions(replayed))
    for number, (old, new) in enumerate(pairs):
        if old is None or new is None or old[1] != new[1]:
            at_s = old[0] if old is not None else float("nan")
            return Difference(number, at_s, old[2] if old else None, new[2] if new else None)
    return None


def who_decided(recording: Path) -> TraceHeader:
    """Return what a recording says of itself."""
    return read_header(recording)


def _decisions(path: Path) -> Iterator[tuple[float, Any, dict[str, Any]]]:
    """Yield when each decision was taken, what it says with names by order of appearance, and what it says."""
    names, at_s = _Names(), 0.0
    for record in read_trace(path):
        if isinstance(record, Wake):  # to be woken decides nothing, and when depends on who drives
            continue
        if isinstance(record, Action):
            plain: dict[str, Any] = msgspec.to_builtins(record)
            yield at_s, names.replaced(plain), plain
        else:
            at_s = record.at_s
            if isinstance(record, Arrived):
                names.number(record.work.id, "")


class _Names:
    """Numbers names in the order in which they appear; those of places apart from those of works."""

    def __init__(self) -> None:
        self._known: dict[tuple[bool, str], int] = {}

    def number(self, name: str, key: str) -> int:
        return self._known.setdefault((key in PLACES, name), len(self._known))

    def replaced(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            named = key in BY_NAME
            return {self.number(k, key) if named else k: self.replaced(v, "" if named else k) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.replaced(one, key) for one in value]
        return self.number(value, key) if isinstance(value, str) and key not in WORDS else value
