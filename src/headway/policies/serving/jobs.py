"""Fine-tuning beside serving: the books of jobs, of the units that steps carry, and of the memory lent to them.

A job is a list of microbatches. Each is passed forward through the layers of the model, then backward if it trains;
after the last one of a batch the optimizer updates the weights. Steps carry units of that (see `TuneUnit`), in order.

Between two units of a microbatch its activations live in KV blocks lent to fine-tuning, which `Set` of the knob
`TUNE_BLOCKS` takes from the pool of an instance and gives back. Whoever takes some back while a microbatch is under way
drops what it has come to: the microbatch begins again, and comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from headway.core.actions import Move, Set
from headway.core.nouns import Id, Seconds
from headway.policies.serving.nouns import JobFinished, Phase, TuneJob, TuneUnit
from headway.policies.serving.state import InstanceState

TUNE_BLOCKS = "tune_blocks"
"""What `Set` turns, of an instance: how many KV blocks fine-tuning holds there."""


class JobState:
    """How far one job has come.

    Attributes
    ----------
    job : TuneJob
        What is known of it.
    instance : str
        Where it is trained; empty before it is placed.
    microbatch : int
        Which one is next, or under way.
    phase : str
        What is next of it: ``"forward"``, ``"backward"`` or ``"update"``.
    layer : int
        In the forward phase the layer that is next; in the backward phase the one after it.
    trained_tokens : int
        Padded tokens of the microbatches that were trained on to the end.
    num_dropped : int
        How often a microbatch had to begin again.
    under_way : bool
        Whether a step that is computed carries units of it.
    """

    __slots__ = (
        "id", "instance", "job", "layer", "microbatch", "num_dropped", "phase", "trained_tokens", "under_way",
    )  # fmt: skip

    def __init__(self, job: TuneJob) -> None:
        self.job = job
        self.id: Id = job.id
        self.instance: Id = ""
        self.microbatch = job.first
        self.phase: Phase = "forward"
        self.layer = 0
        self.trained_tokens = 0
        self.num_dropped = 0
        self.under_way = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is left of it."""
        return self.microbatch >= len(self.job.microbatches)

    @property
    def is_between(self) -> bool:
        """Whether no microbatch is under way, so that nothing is lost when its memory is taken."""
        return self.phase != "backward" and (self.phase == "update" or not self.layer)

    @property
    def tokens(self) -> int:
        """Padded tokens of the present microbatch; 0 when nothing is left."""
        return 0 if self.is_done else self.job.microbatches[self.microbatch].tokens

    def next_unit(self, num_layers: int = 1) -> TuneUnit | None:
        """Return what comes next, through so many layers at most; None when nothing is left.

        Parameters
        ----------
        num_layers : int
            How many layers it may pass through, >= 1. It takes fewer where the phase ends before.
        """
        if self.is_done:
            return None
        first, last = 0, self.job.num_layers
        if self.phase == "forward":
            first, last = self.layer, min(self.layer + num_layers, last)
        elif self.phase == "backward":
            first, last = max(0, self.layer - num_layers), self.layer
        return TuneUnit(self.id, self.microbatch, (first, last), self.phase)

    def coming(self, num_layers: int = 1) -> Iterator[TuneUnit]:
        """Yield the units that are to come, each through so many layers at most."""
        ahead = self._copy()
        while (unit := ahead.next_unit(num_layers)) is not None:
            yield unit
            ahead.take(unit)

    def why_not(self, units: Sequence[TuneUnit]) -> str | None:
        """Return why these units cannot come next, one after the other."""
        ahead = self._copy()
        for unit in units:
            first, last = unit.layers
            wanted = ahead.next_unit(last - first) if last > first else None
            if unit != wanted:
                return f"{ahead.next_unit(self.job.num_layers)} must be next, got {unit}"
            ahead.take(unit)
        return None

    # What boards call ------------------------------------------------------------------------------------------------

    def take(self, unit: TuneUnit) -> None:
        """Note that its next unit was computed."""
        batch, num_layers = self.job.microbatches[self.microbatch], self.job.num_layers
        if unit.phase == "forward" and unit.layers[1] == num_layers and batch.trains:
            self.phase, self.layer = "backward", num_layers
        elif unit.phase == "forward" and unit.layers[1] < num_layers:
            self.layer = unit.layers[1]
        elif unit.phase == "backward" and unit.layers[0]:
            self.layer = unit.layers[0]
        elif unit.phase == "backward" and batch.updates:
            self.phase, self.layer = "update", 0
            self.trained_tokens += batch.tokens
        else:
            self.trained_tokens += batch.tokens if unit.phase == "backward" else 0
            self._begin(self.microbatch + 1)

    def drop(self) -> bool:
        """Let the microbatch under way begin again; says whether there was one."""
        if self.is_between:
            return False
        self.num_dropped += 1
        self._begin(self.microbatch)
        return True

    def _copy(self) -> JobState:
        ahead = JobState(self.job)
        ahead.microbatch, ahead.phase, ahead.layer = self.microbatch, self.phase, self.layer
        return ahead

    def _begin(self, microbatch: int) -> None:
        self.microbatch, self.phase, self.layer = microbatch, "forward", 0


class Jobs:
    """The books of all jobs of a board.

    Parameters
    ----------
    instances : mapping of str to InstanceState
        Those that are up.

    Attributes
    ----------
    all : mapping of str to JobState
        The jobs that have not ended, first come first.
    """

    def __init__(self, instances: Mapping[Id, InstanceState]) -> None:
        self._up = instances
        self._all: dict[Id, JobState] = {}
        self.all: Mapping[Id, JobState] = MappingProxyType(self._all)

    def add(self, job: TuneJob) -> JobState:
        """Let a new job wait to be placed."""
        state = self._all[job.id] = JobState(job)
        return state

    def at(self, instance: Id) -> list[JobState]:
        """Return the jobs that are trained at an instance."""
        return [state for state in self._all.values() if state.instance == instance]

    def finish(self, job: Id, reason: str, now_s: Seconds) -> JobFinished:
        """Forget a job, and let its instance have the memory when no other is trained there."""
        state = self._all.pop(job)
        instance = self._up.get(state.instance)
        if instance is not None and not self.at(instance.id):
            instance.kv.release(instance.tune_blocks)
            instance.tune_blocks = []
        return JobFinished(at_s=now_s, id=job, reason=reason, trained_tokens=state.trained_tokens)

    def leave(self, instance: Id) -> None:
        """Let the jobs of an instance that is lost wait to be placed again; what they have updated stays."""
        for state in self.at(instance):
            state.drop()
            state.instance, state.under_way = "", False

    def place(self, action: Move) -> str | None:
        """Let a job be trained at an instance; returns why not when that cannot be."""
        state, instance = self._all[action.what], self._up.get(action.to)
        if instance is None:
            return f"there is no instance {action.to!r}"
        if instance.num_stages > 1 or instance.num_lanes > 1:
            return "an instance in pipeline stages or lanes trains nothing"
        if state.instance and (state.under_way or not state.is_between):
            return "a microbatch of it is under way"
        state.instance = instance.id
        return None

    def lend(self, action: Set) -> str | None:
        """Let fine-tuning at an instance hold so many KV blocks; returns why not when that cannot be."""
        instance, num = self._up.get(action.of), int(action.value)
        if instance is None:
            return f"there is no instance {action.of!r}"
        if num != action.value or num < 0:
            return f"{TUNE_BLOCKS} must be a whole number >= 0, got {action.value:g}"
        jobs, more = self.at(instance.id), num - len(instance.tune_blocks)
        if any(state.under_way for state in jobs):
            return "a unit is under way"
        if more > instance.kv.num_free:
            return "there is not enough KV memory"
        if more > 0 and not jobs:
            return "no job is trained there"
        if more > 0:
            instance.tune_blocks = instance.tune_blocks + instance.kv.allocate(more)
        elif more < 0:
            for state in jobs:
                state.drop()
            instance.kv.release(instance.tune_blocks[num:])
            instance.tune_blocks = instance.tune_blocks[:num]
        return None

    def why_not(self, units: Sequence[TuneUnit], instance: InstanceState) -> str | None:
        """Return why a step of an idle instance cannot carry units."""
        job = units[0].job
        state = self._all.get(job)
        if state is None or state.instance != instance.id:
            return f"{job} is not trained here"
        if any(other is not state and not other.is_between for other in self.at(instance.id)):
            return "a microbatch of another job is under way"
        if len(instance.tune_blocks) < state.job.kv_blocks:
            return f"it needs {state.job.kv_blocks} blocks, {len(instance.tune_blocks)} are lent"
        return state.why_not(units)

    def begin(self, units: Sequence[TuneUnit]) -> None:
        """Note that a step carries units."""
        self._all[units[0].job].under_way = True

    def end(self, units: Sequence[TuneUnit]) -> None:
        """Note that the step that carries units is over, and that they were computed."""
        state = self._all.get(units[0].job)
        if state is not None and state.under_way:
            state.under_way = False
            for unit in units:
                state.take(unit)

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        jobs = tuple((s.id, s.instance, s.microbatch, s.phase, s.layer, s.under_way) for s in self._all.values())
        return hash((jobs, tuple(len(instance.tune_blocks) for instance in self._up.values())))
