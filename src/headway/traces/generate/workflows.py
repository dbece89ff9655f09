"""Workflows, made: stages of model calls, some side by side, each stage after the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.traces.generate.sessions import lognormal
from headway.traces.table import Floats, Ints, Labels, RequestTable


class Stage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calls of one kind.

    Parameters
    ----------
    name : str
        What kind.
    prompt_tokens, output_tokens : float
        Mean lengths, >= 1; log-normal.
    prompt_cv, output_cv : float
        Standard deviations over means, >= 0.
    least, most : int
        Bounds of how many calls there are, 0 <= least <= most.
    mean : float or None
        Mean of how many, between the bounds; their middle by default. Of all distributions the least surprising.
    parallel : bool
        Whether they are sent together; otherwise each waits for the one before.
    """

    name: str
    prompt_tokens: float
    output_tokens: float
    prompt_cv: float = 0.05
    output_cv: float = 0.3
    least: int = 1
    most: int = 1
    mean: float | None = None
    parallel: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most or min(self.prompt_tokens, self.output_tokens) < 1:
            raise ConfigError(f"workflows: a stage needs 0 <= least <= most and lengths >= 1, got {self}.")
        if self.mean is not None and not self.least <= self.mean <= self.most:
            raise ConfigError(f"workflows: mean of {self.name} must be between least and most, got {self.mean}.")

    @property
    def chances(self) -> Floats:
        """How likely each number of calls is, from `least` to `most`."""
        places = np.arange(self.most - self.least + 1)
        wanted = places.mean() if self.mean is None else self.mean - self.least
        low, high = -50.0, 50.0
        for _ in range(60):  # the mean of weights exp(tilt * place) rises with the tilt
            tilt = (low + high) / 2
            weights: Floats = np.exp(tilt * places - max(0.0, tilt * places[-1]))
            weights /= weights.sum()
            low, high = (tilt, high) if float(weights @ places) < wanted else (low, tilt)
        return weights


class _Call(NamedTuple):
    stage: int
    session: int
    after: int
    joins: bool
    leads: bool


class Workflows(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="workflows"):
    """Workflows of the same stages.

    Parameters
    ----------
    stages : sequence of Stage
        In order; the first calls of a workflow are not parallel. A stage of parallel calls is over when all of them
        have ended.
    num_sessions : int
        How many workflows, >= 1.
    """

    stages: Sequence[Stage] = (Stage(name="call", prompt_tokens=500, output_tokens=100),)
    num_sessions: int = 100

    def __post_init__(self) -> None:
        first = self.stages[0] if self.stages else None
        if self.num_sessions < 1 or first is None or first.least < 1 or (first.parallel and first.most > 1):
            raise ConfigError(
                "workflows: must have num_sessions >= 1 and begin with a stage of one call or more that wait for each "
                f"other, got {self.num_sessions} and {first}."
            )

    def draw(self, rng: np.random.Generator) -> RequestTable:
        """Draw the workflows; all begin at 0, until arrivals are drawn for them."""
        counts = np.array(
            [rng.choice(len(s.chances), size=self.num_sessions, p=s.chances) + s.least for s in self.stages]
        )
        calls: list[_Call] = []
        for session in range(self.num_sessions):
            self._unfold(calls, session, counts[:, session].tolist())
        return self._table(calls, rng)

    def _unfold(self, calls: list[_Call], session: int, counts: list[int]) -> None:
        """Add the calls of one workflow."""
        before, is_fork = -1, False
        last_stage = max(index for index, count in enumerate(counts) if count)
        for index, count in enumerate(counts):
            side_by_side = self.stages[index].parallel and count > 1
            for place in range(count):
                is_last = place + 1 == count
                leads = index < last_stage or not (is_last or side_by_side)
                calls.append(_Call(index, session, before, is_fork, leads))
                if is_last or not side_by_side:
                    before, is_fork = len(calls) - 1, side_by_side

    def _table(self, calls: list[_Call], rng: np.random.Generator) -> RequestTable:
        stage_of, session, after, joins, leads = np.array(calls, np.int64).T
        names = tuple(dict.fromkeys(stage.name for stage in self.stages))
        return RequestTable(
            np.zeros(len(calls)),
            self._lengths("prompt", stage_of, rng),
            self._lengths("output", stage_of, rng),
            labels={
                "session": Labels(session, tuple(f"q{number}" for number in range(self.num_sessions))),
                "stage": Labels(np.array([names.index(stage.name) for stage in self.stages])[stage_of], names),
                "tool": Labels(leads, ("", "workflow")),
            },
            after=after,
            gap_s=np.zeros(len(calls)),
            joins=joins,
            source="workflows",
        )

    def _lengths(self, what: str, stage_of: Ints, rng: np.random.Generator) -> Ints:
        means, cvs = np.array([(getattr(s, f"{what}_tokens"), getattr(s, f"{what}_cv")) for s in self.stages]).T
        drawn = lognormal(means[stage_of], cvs[stage_of], len(stage_of), rng)
        return np.maximum(np.rint(drawn), 1).astype(np.int64)
