"""Offloaded fine-tuning in virtual time: an accelerator, a processor, two links, and operations that have prices."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from headway.core.actions import Action, Start, Wake
from headway.core.events import Arrived, Event, Finished, Started, Woke
from headway.core.nouns import Resource, Seconds
from headway.policies.tuning.lsp_offload_board import OffloadBoard
from headway.policies.tuning.lsp_offload_log import OffloadLog, Ran
from headway.policies.tuning.lsp_offload_nouns import Begin, Layer, OffloadJob, Op, OpDone
from headway.policies.tuning.lsp_offload_plan import num_sent
from headway.sim.tuning.lsp_offload_truth import OffloadTruth


class OffloadWorld:
    """Plays jobs one after the other on four lanes.

    Parameters
    ----------
    jobs : sequence of OffloadJob
        With their times of arrival.
    resources : sequence of Resource
        The lanes, whose traits are their rates; see `headway.policies.tuning.lsp_offload_plan`.
    truth : OffloadTruth or None
        What nobody sees: how long operations really take, and biases; a plain one by default.

    Notes
    -----
    A stand-in for hardware: rates are those that the traits tell, times are spread about them by the truth. An
    operation has its lane for itself; the two links do not disturb each other, nor the processor or the accelerator.
    """

    def __init__(
        self, jobs: Sequence[OffloadJob], resources: Iterable[Resource], truth: OffloadTruth | None = None
    ) -> None:
        self.view = OffloadBoard(resources)
        self.log = OffloadLog()
        self._truth = truth or OffloadTruth()
        self._order = itertools.count()
        self._agenda: list[tuple[Seconds, int, Event]] = []
        for job in jobs:
            self._enter(Arrived(at_s=job.arrival_s, work=job))

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        if not self._agenda:
            return None
        event = heapq.heappop(self._agenda)[2]
        self.view.now_s = event.at_s
        if isinstance(event, Arrived) and isinstance(event.work, OffloadJob):
            self.view.add(event.work)
        elif isinstance(event, OpDone):
            self._end(event)
        return event

    def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        now_s = self.view.now_s
        if isinstance(action, Wake):
            self._enter(Woke(at_s=max(now_s, action.at_s), tag=action.tag))
            return None
        why = self.view.apply(action)
        if why is None and isinstance(action, Begin):
            self._enter(Started(at_s=now_s, id=action.id))
        elif why is None and isinstance(action, Start):
            (lane,) = action.on
            self._run(self.view.running(lane))  # type: ignore[arg-type]  # the board knows lanes by these names
        return why

    def _run(self, op: Op | None) -> None:
        progress = self.view.under_way
        if op is None or progress is None or progress.form is None:
            return
        job, form, now_s = progress.job, progress.form, self.view.now_s
        took_s, bias_frac = self._truth.run(op, job, form, self.view.resources)
        is_sent = op.what in ("down", "up")
        num_bytes = job.param_bytes * num_sent(job.layers[op.layer], form.width) if is_sent else 0
        self.log.add(Ran(op, now_s, now_s + took_s, num_bytes))
        self._enter(OpDone(at_s=now_s + took_s, op=op, took_s=took_s, bias_frac=bias_frac))

    def _end(self, event: OpDone) -> None:
        if self.view.finish(event.op, event.bias_frac):
            self._enter(Finished(at_s=event.at_s, id=event.op.job))

    def _enter(self, event: Event) -> None:
        heapq.heappush(self._agenda, (event.at_s, next(self._order), event))


SMALL_LANES = (
    Resource(id="gpu", kind="gpu", capacity={"slot": 1.0}, traits={"memory_bytes_per_s": 1e9}),
    Resource(id="down", kind="link", capacity={"slot": 1.0}, traits={"bytes_per_s": 1e7}),
    Resource(id="cpu", kind="cpu", capacity={"slot": 1.0}, traits={"params_per_s": 4e6}),
    Resource(id="up", kind="link", capacity={"slot": 1.0}, traits={"bytes_per_s": 1e7}),
)
"""An accelerator, a processor and links so slow that a small model keeps them busy."""


def small_world(seed: int, later: float = 1.0) -> tuple[OffloadWorld, None]:
    """Make a world small enough for contract checks: two jobs of a few layers, one after the other.

    Parameters
    ----------
    seed : int
        Of the times.
    later : float
        By how much operations of the second job take longer than those of the same seed by default, > 0; nothing
        visible tells before they run.

    Returns
    -------
    (OffloadWorld, None)
        The world; it has no accounts.
    """
    layer = Layer(matrices=((64, 64), (64, 192), (192, 64)), num_small=128, forward_s=2e-3, backward_s=5e-3)
    jobs = [
        OffloadJob(id="a", arrival_s=0.0, layers=(layer,) * 4, num_steps=5),
        OffloadJob(id="b", arrival_s=0.01, layers=(replace(layer, num_small=64),) * 3, num_steps=3),
    ]
    return OffloadWorld(jobs, SMALL_LANES, OffloadTruth(seed=seed, slower={"b": later})), None


def lying_world(seed: int) -> OffloadWorld:
    """Make the small world of a seed in which the second job is slower; it looks the same until the first has ended."""
    return small_world(seed, later=1.7)[0]


def in_memory_s(job: OffloadJob) -> Seconds:
    """Return a step's time without offloading, were there memory enough: its passes alone."""
    return math.fsum(layer.forward_s + layer.backward_s for layer in job.layers)
