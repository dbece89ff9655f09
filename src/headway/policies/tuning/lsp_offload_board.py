"""The visible state of offloaded fine-tuning, and what an action means: the same lines in virtual and in real time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from headway.core.actions import Action, Start
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.tuning.lsp_offload_nouns import LANES, SLOT, Begin, Lane, OffloadJob, Op, What

CHAIN: tuple[What, ...] = ("backward", "compress", "down", "update", "up", "apply")
"""What follows a layer's backward pass, one after the other; nothing is compressed where gradients travel whole."""


class JobProgress:
    """How far one job is.

    Parameters
    ----------
    job : OffloadJob
        The job.
    """

    def __init__(self, job: OffloadJob) -> None:
        self.job = job
        self.form: Begin | None = None
        num = len(job.layers)
        self.next_forward: tuple[int, int] | None = (0, 0)
        self.applied = [-1] * num  # by layer, the last step whose update is in the weights
        self._checked, self._learnt, self._bias_frac = [-1] * num, [-1] * num, [math.nan] * num
        self._num_done: Counter[tuple[int, What]] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether every update of the last step is in the weights."""
        return min(self.applied) == self.job.num_steps - 1

    def num_done(self, step: int, what: What) -> int:
        """For how many layers an operation of a step is over."""
        return self._num_done[step, what]

    def checked_at(self, layer: int) -> int:
        """The step of the last check of a layer's projectors; -1 before the first."""
        return self._checked[layer]

    def learnt_at(self, layer: int) -> int:
        """The step in which they were last learnt; -1 before the first."""
        return self._learnt[layer]

    def bias_frac(self, layer: int) -> float:
        """What the last check or learning found; NaN before the first."""
        return self._bias_frac[layer]

    def note(self, op: Op, bias_frac: float) -> None:
        """Enter an operation that is over."""
        self._num_done[op.step, op.what] += 1
        if op.what in ("check", "learn"):
            self._bias_frac[op.layer] = bias_frac
            (self._checked if op.what == "check" else self._learnt)[op.layer] = op.step
        elif op.what == "apply":
            self.applied[op.layer] = op.step

    def follow(self, op: Op) -> Iterator[Op]:
        """Yield the operations that an operation, now over, makes ready."""
        job, step, layer = self.job.id, op.step, op.layer
        if op.what == "forward":
            if layer + 1 < len(self.job.layers):
                self.next_forward = (step, layer + 1)
            else:
                yield Op(job, step, layer, "backward")
        elif op.what in ("check", "learn"):
            yield Op(job, step, layer, "compress")
        elif op.what != "apply":
            yield Op(job, step, layer, self._after(op.what))
        if op.what == "backward":
            if layer:
                yield Op(job, step, layer - 1, "backward")
            elif step + 1 < self.job.num_steps:
                self.next_forward = (step + 1, 0)
        yield from self.forward()

    def forward(self) -> Iterator[Op]:
        """Yield the next forward operation if its layer has the update of the step before: nothing is ever stale."""
        if self.next_forward is not None and self.applied[self.next_forward[1]] == self.next_forward[0] - 1:
            step, layer = self.next_forward
            self.next_forward = None
            yield Op(self.job.id, step, layer, "forward")

    def extra(self, op: Op) -> Iterator[Op]:
        """Yield what may run instead of an operation before it: a check, and learning after the check."""
        if op.what == "compress":
            if self._checked[op.layer] < op.step:
                yield Op(op.job, op.step, op.layer, "check")
            elif self._learnt[op.layer] < op.step:
                yield Op(op.job, op.step, op.layer, "learn")

    def _after(self, what: What) -> What:
        after = CHAIN[CHAIN.index(what) + 1]
        return "down" if after == "compress" and not (self.form and self.form.width) else after

    def key(self) -> tuple[object, ...]:
        """Everything that changes, as something to hash."""
        return (self.form, tuple(self.applied), self.next_forward, tuple(self._checked), tuple(self._learnt))


class OffloadBoard:
    """What waits and what runs on the four lanes. Executors write it, policies read it.

    Parameters
    ----------
    resources : iterable of Resource
        The lanes ``gpu``, ``down``, ``cpu`` and ``up``, in any order.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.now_s: Seconds = 0.0
        self.resources: Mapping[Id, Resource] = MappingProxyType({one.id: one for one in resources})
        self._jobs: dict[Id, JobProgress] = {}
        self.jobs: Mapping[Id, JobProgress] = MappingProxyType(self._jobs)
        self.under_way: JobProgress | None = None
        self._ready: dict[Lane, dict[Id, Op]] = {lane: {} for lane in LANES}
        self._extra: dict[Id, tuple[Op, Op]] = {}  # what may run first, and what it holds up
        self._running: dict[Lane, Op] = {}

    def ready(self, lane: Lane) -> Iterable[Op]:
        """Operations that could start on a lane but for its being busy, in the order in which they became ready."""
        return self._ready[lane].values()

    def is_idle(self, lane: Lane) -> bool:
        """Whether nothing runs on a lane."""
        return lane not in self._running

    @property
    def is_stuck(self) -> bool:
        """Whether jobs are left and nothing runs."""
        return bool(self._jobs) and not self._running

    def add(self, job: OffloadJob) -> None:
        """Let a job wait."""
        self._jobs[job.id] = JobProgress(job)

    def apply(self, action: Action) -> str | None:
        """Carry out an action on the visible state; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Begin):
            return self._begin(action)
        if isinstance(action, Start):
            return self._start(action)
        return f"this board does not know {type(action).__name__}"

    def running(self, lane: Lane) -> Op | None:
        """Return what runs on a lane."""
        return self._running.get(lane)

    def finish(self, op: Op, bias_frac: float = math.nan) -> bool:
        """Enter that a running operation is over; says whether its job is, too."""
        progress = self._jobs[op.job]
        del self._running[op.lane]
        progress.note(op, bias_frac)
        for follower in progress.follow(op):
            self._offer(progress, follower)
        if progress.is_over:
            del self._jobs[op.job]
            self.under_way = None
        return progress.is_over

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes; contract checks compare it."""
        jobs = tuple((name, one.key()) for name, one in self._jobs.items())
        ready = tuple(tuple(ops) for ops in self._ready.values())
        return hash((self.now_s, jobs, ready, tuple(self._running.values())))

    def _begin(self, action: Begin) -> str | None:
        progress = self._jobs.get(action.id)
        if progress is None or progress.form is not None:
            return "it is not waiting"
        if self.under_way is not None:
            return "another job is under way"
        if action.width < 0 or action.nonzeros < 1:
            return f"width must be >= 0 and nonzeros >= 1, got {action.width} and {action.nonzeros}"
        progress.form = action
        self.under_way = progress
        for op in progress.forward():
            self._offer(progress, op)
        return None

    def _start(self, action: Start) -> str | None:
        op = self._find(action.id)
        if op is None:
            return "it is not ready"
        if not self.is_idle(op.lane):
            return f"{op.lane} is busy"
        if dict(action.on) != {op.lane: SLOT}:
            return f"it must take the slot of {op.lane}"
        self._take(op)
        self._running[op.lane] = op
        return None

    def _find(self, id: Id) -> Op | None:
        if id in self._extra:
            return self._extra[id][0]
        return next((ops[id] for ops in self._ready.values() if id in ops), None)

    def _take(self, op: Op) -> None:
        """Remove an operation from what is ready: an extra one with what it holds up, another with its extra ones."""
        held = self._extra.get(op.id, (op, op))[1]
        self._ready[held.lane].pop(held.id)
        for extra, (_, waiting) in list(self._extra.items()):
            if waiting.id == held.id:
                del self._extra[extra]

    def _offer(self, progress: JobProgress, op: Op) -> None:
        self._ready[op.lane][op.id] = op
        for extra in progress.extra(op):
            self._extra[extra.id] = (extra, op)
