"""A job: one run as plain data, so that it can be played here, in another process or on another machine."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from headway import __version__
from headway.app.studies.choice import Choice
from headway.app.studies.recipe import Recipe, scenario_class
from headway.core import catalogue
from headway.core.errors import ConfigError, HeadwayError
from headway.core.nouns import Seconds
from headway.core.parameters import decode
from headway.core.report import Report
from headway.core.scenario import OnProgress, Outcome, Scenario
from headway.core.session import Instrument
from headway.core.trace import TraceSink

NUM_POINTS = 501
"""Quantiles kept of every metric of a run: enough for a curve, small enough to send and to store."""


class Job(Struct, frozen=True, kw_only=True):
    """One run.

    Parameters
    ----------
    family : str
        Whose scenario is played.
    setting : dict of str to object
        What the scenario is made from.
    policy : Choice
        Who decides.
    seed : int
        Of the run.
    load : float
        Factor on the rate of arrivals, > 0.
    where : str
        The recipe it comes from, for errors.
    """

    family: str
    setting: dict[str, Any]
    policy: Choice
    seed: int = 0
    load: float = 1.0
    where: str = "recipe"

    @property
    def label(self) -> str:
        """The run in a few words."""
        return f"{self.policy.label} at load {self.load:g}, seed {self.seed}"

    @property
    def key(self) -> str:
        """A hash of all that its outcome depends on: its data, the files it reads, the version of this package."""
        said = {"setting": self.setting, "id": self.policy.id, "params": self.policy.params, "seed": self.seed}
        said |= {"family": self.family, "load": self.load, "version": __version__, "files": _files(self.setting)}
        return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()


class Result(Struct, frozen=True, kw_only=True):
    """What is kept of a job: small, however many requests it played.

    Parameters
    ----------
    report : Report
        The numbers.
    quantiles : dict of str to list of float
        For every metric of the works `NUM_POINTS` quantiles at even distances, from the least to the largest.
    wall_s : float
        How long it took to play, in seconds.
    """

    report: Report
    quantiles: dict[str, list[float]]
    wall_s: Seconds


def job_of(recipe: Recipe, policy: Choice, *, seed: int = 0, load: float = 1.0) -> Job:
    """Return one run of a recipe."""
    return Job(family=recipe.family, setting=recipe.setting, policy=policy, seed=seed, load=load, where=recipe.path)


def _refuse_unfit(job: Job) -> None:
    """Raise for a policy whose kind of work the scenario does not have, where the scenario says what it has."""
    offers: frozenset[str] | None = getattr(scenario_class(job.family), "CAN", None)
    missing = set() if offers is None else catalogue.needs(job.policy.id, job.policy.params) - offers
    if missing:
        raise ConfigError(
            f"{job.where}: policy {job.policy.id} must fit the scenario of {job.family}, it needs "
            f"{' and '.join(sorted(missing))}, which only a world of its own has. Choose another policy."
        )


def play(
    job: Job,
    *,
    trace: TraceSink | None = None,
    instruments: Sequence[Instrument] = (),
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Play a job from its start to its end.

    Raises
    ------
    HeadwayError
        When it cannot be played.
    """
    _refuse_unfit(job)
    scenario = scenario_of(job)
    return scenario.play(
        job.policy.build(),
        seed=job.seed,
        load=job.load,
        trace=trace,
        instruments=instruments,
        on_progress=on_progress,
    )


def finish(job: Job) -> Result:
    """Play a job and keep what is small of it; an error says which job it was."""
    start_s = time.perf_counter()
    try:
        outcome = play(job)
    except HeadwayError as error:
        raise type(error)(f"{job.label}: {error}") from error
    except Exception as error:
        error.add_note(f"while playing {job.label} of {job.where}")
        raise
    wall_s = time.perf_counter() - start_s
    return Result(report=outcome.report, quantiles=quantiles(outcome), wall_s=wall_s)


def quantiles(outcome: Outcome) -> dict[str, list[float]]:
    """Return the quantiles of every metric of the works that is a time in seconds, moments apart."""
    found: dict[str, list[float]] = {}
    for name, column in outcome.works.items():
        if name.endswith("_s") and name != "arrival_s" and column.dtype.kind == "f":
            values = column[np.isfinite(column)]
            if len(values):
                found[name] = np.quantile(values, np.linspace(0, 1, NUM_POINTS)).tolist()
    return found


def scenario_of(job: Job) -> Scenario:
    """Return the scenario of a job; jobs with equal settings share one.

    Raises
    ------
    ConfigError
        When the setting cannot work.
    """
    return _scenario(job.family, msgspec.json.encode(job.setting), job.where)


@functools.lru_cache(maxsize=8)
def _scenario(family: str, setting: bytes, where: str) -> Scenario:
    made: Scenario = decode(scenario_class(family), msgspec.json.decode(setting), where=where)
    return made


def _files(setting: Any) -> list[tuple[str, int, int]]:
    """Find the files that a setting names, with their sizes and times of change."""
    if isinstance(setting, dict):
        return [found for value in setting.values() for found in _files(value)]
    if isinstance(setting, list | tuple):
        return [found for value in setting for found in _files(value)]
    if not isinstance(setting, str) or "/" not in setting or not Path(setting).exists():
        return []
    facts = Path(setting).stat()
    return [(setting, facts.st_size, facts.st_mtime_ns)]
