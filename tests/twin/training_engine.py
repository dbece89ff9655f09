"""A real-time engine that trains beside serving, in which model and trainer are fake: both sleep for what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from headway.core.clock import Clock
from headway.core.events import Event
from headway.policies.serving.nouns import JobArrived, Step, StepDone, TuneJob, TuneUnit
from headway.policies.serving.state import InstanceState
from headway.sim.serving.price import BatchShape, Chunk, StepPrice
from headway.sim.serving.side_by_side import ends_of_two
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.units import UnitPrice, UnitShape
from twin.inbox import END, NEWS
from twin.serving_engine import FakeEngine

CAN = frozenset({"layer_ranges", "tune", "share", "fuse"})


class TrainingEngine(FakeEngine):
    """Computes units after the pieces of a step, beside them with what these leave, or in one batch with them."""

    def __init__(
        self,
        requests: Sequence[TrueRequest],
        instances: Sequence[InstanceState],
        price: StepPrice,
        clock: Clock,
        jobs: Sequence[TuneJob],
        units: UnitPrice,
    ) -> None:
        super().__init__(requests, instances, price, clock, CAN)
        self._jobs = {job.id: job for job in jobs}
        self._units = units
        self._num_jobs = len(jobs)

    def _expect(self) -> None:
        super()._expect()
        for job in self._jobs.values():
            self._inbox.later(job.arrival_s, NEWS, partial(self._bring, job))

    def _is_drained(self) -> bool:
        return super()._is_drained() and not self._num_jobs

    def _bring(self, job: TuneJob) -> Iterator[Event]:
        self.view.now_s = self._clock.now_s()
        self.view.tuning.add(job)
        yield JobArrived(at_s=self.view.now_s, work=job)

    async def _run(self, step: Step) -> None:
        if not step.tune:
            await super()._run(step)
            return
        start_s = self._clock.now_s()
        pieces_s = self._price.step_s(self._shape(step, step.share)) if step.pieces else 0.0
        rest = 1.0 - step.share if step.share < 1 else 1.0
        tune_s = 0.0
        for unit in step.tune:
            tune_s += self._units.unit_s(self._unit_shape(unit, rest))
        if step.fused:
            pieces_s = tune_s = self._fused_s(step, tune_s)
        elif step.share < 1 and step.pieces:
            pieces_s, tune_s = ends_of_two((pieces_s, 0.0), (tune_s, 0.0))
        is_after = step.share == 1 and not step.fused
        whole_s = pieces_s + tune_s if is_after else max(pieces_s, tune_s)
        if step.pieces and pieces_s < whole_s:
            await self._clock.sleep_until(start_s + pieces_s)
            self._inbox.put(END, partial(self._give, step))
        await self._clock.sleep_until(start_s + whole_s)
        self._inbox.put(END, partial(self._over, step, start_s, pieces_s, tune_s, pieces_s == whole_s))

    def _fused_s(self, step: Step, tune_s: float) -> float:
        shape, chunks = self._shape(step, 1.0), list[Chunk]()
        for unit in step.tune:
            chunk = self._units.chunk_of(self._unit_shape(unit, 1.0))
            if chunk is not None:
                chunks.append(chunk)
        if not chunks:
            return self._price.step_s(shape) + tune_s
        together = BatchShape(shape.num_decodes, shape.context_tokens, (*shape.chunks, *chunks))
        alone_s = self._price.step_s(BatchShape(0, 0, tuple(chunks)))
        return self._price.step_s(together) + max(0.0, tune_s - alone_s)

    def _unit_shape(self, unit: TuneUnit, share: float) -> UnitShape:
        job, (first, last) = self._jobs[unit.job], unit.layers
        at_head = unit.phase != "update" and last == job.num_layers
        return UnitShape(unit.phase, job.microbatches[unit.microbatch].tokens, last - first, at_head, share)

    def _over(self, step: Step, start_s: float, pieces_s: float, tune_s: float, owes: bool) -> Iterator[Event]:
        if owes and step.pieces:
            yield from self._give(step)
        now_s = self.view.now_s = self._clock.now_s()
        self.view.end(step)
        yield StepDone(
            at_s=now_s,
            instance=step.instance,
            step_s=now_s - start_s,
            num_tokens=step.num_tokens,
            tune_s=tune_s,
            pieces_s=pieces_s,
        )
        state = self.view.jobs.get(step.tune[0].job)
        if state is not None and state.is_done:
            self._num_jobs -= 1
            yield self.view.tuning.finish(state.id, "done", now_s)
