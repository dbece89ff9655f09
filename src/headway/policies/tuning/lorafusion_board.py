"""What is visible of a pipeline that trains several adapters; worlds and engines keep it, policies read it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.nouns import Id, Resource, Seconds
from headway.numerics.bins import rounded_up
from headway.policies.tuning.lorafusion_nouns import AdapterJob, Enter, Mix, Part

PIPELINE = "pipeline"
"""The id of the one pipeline."""


class AdapterState:
    """How far a job has come.

    Attributes
    ----------
    batch : int
        The global batch whose examples may enter now; all before it have led to their optimizer steps.
    entered : set of int
        Which of its examples are in the pipeline or through it.
    """

    def __init__(self, job: AdapterJob) -> None:
        self.job = job
        self.batch = 0
        self.entered: set[int] = set()
        self.num_back = 0

    @property
    def is_through(self) -> bool:
        """Whether all of its global batches have led to their optimizer steps."""
        return self.batch == len(self.job.lengths)

    @property
    def left(self) -> list[int]:
        """The examples of the present global batch that have not entered, by number."""
        lengths = () if self.is_through else self.job.lengths[self.batch]
        return [number for number in range(len(lengths)) if number not in self.entered]


class PipelineView(Protocol):
    """What a policy sees of the pipeline."""

    now_s: Seconds

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The pipeline, with what it can do."""

    @property
    def num_stages(self) -> int:
        """How many stages it has, >= 1."""

    @property
    def capacity_tokens(self) -> int:
        """The most padded tokens of a microbatch."""

    @property
    def tile_tokens(self) -> int:
        """What the tokens of each adapter in a microbatch are padded to a multiple of."""

    @property
    def jobs(self) -> Mapping[Id, AdapterState]:
        """All jobs that are here and not through."""

    @property
    def under_way(self) -> Sequence[Mix]:
        """The microbatches in the pipeline, the first to enter first."""

    @property
    def is_open(self) -> bool:
        """Whether a microbatch may enter now."""


class PipelineBoard:
    """The visible state. A refused action changes nothing.

    Parameters
    ----------
    num_stages : int
        Stages of the pipeline, >= 1.
    capacity_tokens : int
        The most padded tokens of a microbatch, >= 1.
    tile_tokens : int
        What the tokens of each adapter in a microbatch are padded to a multiple of, >= 1.
    """

    def __init__(self, num_stages: int, capacity_tokens: int, tile_tokens: int) -> None:
        self.now_s: Seconds = 0.0
        self.num_stages = num_stages
        self.capacity_tokens = capacity_tokens
        self.tile_tokens = tile_tokens
        self.is_open = True
        self.num_entered = 0
        self._jobs: dict[Id, AdapterState] = {}
        self._under_way: deque[Mix] = deque()
        traits = {"stages": float(num_stages), "tile_tokens": float(tile_tokens)}
        capacity = {"tokens": float(capacity_tokens)}
        resource = Resource(id=PIPELINE, kind="pipeline", capacity=capacity, traits=traits)
        self.resources: Mapping[Id, Resource] = MappingProxyType({PIPELINE: resource})
        self.jobs: Mapping[Id, AdapterState] = MappingProxyType(self._jobs)

    @property
    def under_way(self) -> Sequence[Mix]:
        """The microbatches in the pipeline, the first to enter first."""
        return tuple(self._under_way)

    def add(self, job: AdapterJob) -> None:
        """Take in a job that `check` finds nothing wrong with."""
        self._jobs[job.id] = AdapterState(job)

    def check(self, job: AdapterJob) -> None:
        """Look at a job before it comes.

        Raises
        ------
        ConfigError
            When one of its examples fits into no microbatch.
        """
        longest = max([rounded_up(tokens, self.tile_tokens) for batch in job.lengths for tokens in batch], default=0)
        if longest > self.capacity_tokens:
            raise ConfigError(
                f"{job.id}: every example must fit into a microbatch of {self.capacity_tokens} padded tokens, got "
                f"{longest}. Cut it, or raise capacity_tokens."
            )

    def remove(self, job: Id) -> None:
        """Forget a job; what is left of it in the pipeline counts for nobody."""
        del self._jobs[job]

    def apply(self, action: Action) -> str | None:
        """Let a microbatch enter, or say why not."""
        if not isinstance(action, Enter):
            return f"a pipeline does not know {type(action).__name__}"
        if (why := self._why_not(action.mix)) is not None:
            return why
        for part in action.mix.parts:
            self._jobs[part.job].entered.update(part.samples)
        self._under_way.append(action.mix)
        self.num_entered += 1
        return None

    def leave(self) -> tuple[Mix, list[AdapterState]]:
        """Let the first microbatch leave; returns it, and the jobs whose optimizer steps now."""
        mix, steps = self._under_way.popleft(), []
        for part in mix.parts:
            state = self._jobs.get(part.job)
            if state is None:
                continue
            state.num_back += len(part.samples)
            if state.num_back == len(state.job.lengths[state.batch]):
                state.batch, state.entered, state.num_back = state.batch + 1, set(), 0
                steps.append(state)
        return mix, steps

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes; contract checks compare it."""
        jobs = tuple((id, one.batch, tuple(sorted(one.entered)), one.num_back) for id, one in self._jobs.items())
        return hash((self.now_s, jobs, tuple(self._under_way), self.is_open, self.num_entered))

    def _why_not(self, mix: Mix) -> str | None:
        if not self.is_open:
            return "the first stage is busy"
        if (padded := mix.padded_tokens(self.tile_tokens)) > self.capacity_tokens:
            return f"a microbatch may have {self.capacity_tokens} padded tokens, {padded} asked for"
        if len({part.job for part in mix.parts}) < len(mix.parts):
            return "a microbatch has one part of each adapter"
        return next((why for part in mix.parts if (why := self._part_why_not(part)) is not None), None)

    def _part_why_not(self, part: Part) -> str | None:
        state = self._jobs.get(part.job)
        if state is None:
            return f"there is no job {part.job!r}"
        if state.is_through or part.batch != state.batch:
            return f"{part.job} is at global batch {state.batch}, {part.batch} asked for"
        distinct = set(part.samples)
        if not distinct or len(distinct) < len(part.samples) or not distinct <= set(state.left):
            return f"examples of {part.job} must be there, and enter once"
        lengths = state.job.lengths[part.batch]
        if part.lengths != tuple([lengths[number] for number in part.samples]):
            return f"the examples of {part.job} do not have {part.tokens} tokens"
        return None
