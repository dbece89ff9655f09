"""Trains several adapters at once over one frozen model: the live twin of the pipeline, with a single stage."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from headway.core.actions import Action, Wake
from headway.core.drivers import serve
from headway.core.errors import TuneError
from headway.core.events import Arrived, Event, Failed, Finished, Progressed
from headway.core.nouns import Id, Seconds
from headway.core.policy import Policy
from headway.engines.tuning.descent import Descent
from headway.engines.tuning.head import Tally
from headway.engines.tuning.lorafusion_packing import Data, Order, pack_row
from headway.engines.tuning.lorafusion_sharing import SharedModel
from headway.engines.tuning.schedule import learning_rate
from headway.policies.tuning.lorafusion_board import PIPELINE, PipelineBoard, PipelineView
from headway.policies.tuning.lorafusion_nouns import AdapterJob, Enter, Mix, Opened


@dataclass(frozen=True)
class Descending:
    """How the weights of an adapter are updated; as in `TuneSpec`."""

    learning_rate: float = 2e-4
    schedule: str = "linear"
    warmup_frac: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0


@dataclass
class LiveJob:
    """An adapter to be trained.

    Attributes
    ----------
    id : str
        The job; an adapter of the shared model has this name.
    data : Data
        Its examples.
    order : Order
        Which of them make up which global batch.
    descending : Descending
        How its weights are updated.
    descent : Descent or None
        What updates them; made by the engine by default.
    losses : list of float
        Of each step so far: mean over the trained tokens of its global batch, in nats.
    why : str
        Why it failed; empty when it did not.
    """

    id: Id
    data: Data
    order: Order
    descending: Descending = field(default_factory=Descending)
    descent: Descent | None = None
    losses: list[float] = field(default_factory=list)
    why: str = ""

    def lengths(self) -> tuple[tuple[int, ...], ...]:
        """Tokens of every example by global batch."""
        return tuple(tuple(len(self.data[one][0]) for one in batch) for batch in self.order.batches)

    def num_trained(self, batch: int) -> int:
        """Trained tokens of a global batch; its loss is divided by them, however it is cut into microbatches."""
        return sum(int(self.data[one][1].sum()) for one in self.order.batches[batch])


OnStep = Callable[[LiveJob, Tally, float], None]
"""Told of a job that has made a step: sums over its global batch, and the learning rate."""


class Together:
    """The engine: computes the microbatches that a policy lets enter, and steps each optimizer when its batch is done.

    Parameters
    ----------
    model : SharedModel
        The model, with an adapter for every job.
    jobs : sequence of LiveJob
        What is trained.
    capacity_tokens : int
        The most padded tokens of a microbatch, >= 1.
    tile_tokens : int
        What the tokens of each adapter in a microbatch are padded to a multiple of, >= 1; 1, for a CPU has no tiles to
        fill. On a GPU take the rows of a tile of its matrix products, such as 64.
    on_step : callable or None
        Told of every step.
    stopped : callable
        Asked before each microbatch whether to stop.

    Raises
    ------
    ConfigError
        When an example fits into no microbatch.
    """

    def __init__(
        self,
        model: SharedModel,
        jobs: Sequence[LiveJob],
        capacity_tokens: int,
        tile_tokens: int = 1,
        *,
        on_step: OnStep | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.view = PipelineBoard(1, capacity_tokens, tile_tokens)
        self.num_tokens = self.num_mixes = 0
        self._model = model
        self._jobs = {job.id: job for job in jobs}
        self._works = [AdapterJob(id=job.id, arrival_s=0.0, lengths=job.lengths()) for job in jobs]
        for work in self._works:
            self.view.check(work)
        self._on_step, self._stopped = on_step, stopped
        self._data: Mapping[Id, Data] = {job.id: job.data for job in jobs}
        self._orders = {job.id: job.order for job in jobs}
        self._descents = {job.id: job.descent or _descent_of(job, model) for job in jobs}
        self._tallies = {job.id: Tally() for job in jobs}
        self._entered: Mix | None = None

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens, until there is nothing left to compute."""
        start_s = time.perf_counter()
        for work in self._works:
            self.view.add(work)
        for work in self._works:
            yield Arrived(at_s=self._now(start_s), work=work)
        while self._entered is not None and not self._stopped():
            mix, self._entered = self._entered, None
            self._compute(mix)
            for event in self._leave(start_s):
                yield event
            self.view.is_open = True
            yield Opened(at_s=self._now(start_s), pipeline=PIPELINE)

    async def apply(self, action: Action) -> str | None:
        """Let a microbatch enter, or say why not."""
        if isinstance(action, Wake):
            return "nobody is woken here"
        why = self.view.apply(action)
        if why is None and isinstance(action, Enter):
            self._entered, self.view.is_open = action.mix, False
        return why

    def _now(self, start_s: Seconds) -> Seconds:
        self.view.now_s = time.perf_counter() - start_s
        return self.view.now_s

    def _leave(self, start_s: Seconds) -> list[Event]:
        found: list[Event] = []
        _, stepped = self.view.leave()
        for state in stepped:
            job = self._jobs[state.job.id]
            try:
                self._step(job, state.batch - 1)
            except TuneError as error:  # the others go on
                job.why = f"{job.id}: {error}"
            id, at_s = job.id, self._now(start_s)
            found.append(
                Failed(at_s=at_s, id=id, why=job.why) if job.why else Progressed(at_s=at_s, id=id, done=state.batch)
            )
            if job.why or state.is_through:
                self.view.remove(id)
            if state.is_through and not job.why:
                found.append(Finished(at_s=at_s, id=id))
        return found

    def _compute(self, mix: Mix) -> None:
        """Go forward and backward; every adapter's loss is a share of the mean over its own global batch."""
        if not mix.parts:
            return
        packed = pack_row(mix, self._data, self._orders, self.view.tile_tokens, self._model.device)
        losses, right = self._model.losses(packed)
        shares = []
        for part in mix.parts:
            at = packed.shares[part.job].labels
            loss = losses[at.start : at.stop].sum()
            shares.append(loss / self._jobs[part.job].num_trained(part.batch))
            self._tallies[part.job].add(tallied(loss, right[at.start : at.stop]))
        torch.autograd.backward(shares)
        self.num_tokens += mix.tokens
        self.num_mixes += 1

    def _step(self, job: LiveJob, step: int) -> None:
        tally, self._tallies[job.id] = self._tallies[job.id], Tally()
        loss = tally.loss / tally.num_tokens
        if not math.isfinite(loss):
            raise TuneError(f"tune: the loss must be a number, got {loss}. Try a smaller learning_rate.")
        how, first = job.descending, job.order.first
        num_steps = first + len(job.order.batches)
        rate = learning_rate(how.learning_rate, how.schedule, how.warmup_frac, first + step, num_steps)
        self._descents[job.id].step(rate)
        job.losses.append(loss)
        if self._on_step is not None:
            self._on_step(job, tally, rate)


def _descent_of(job: LiveJob, model: SharedModel) -> Descent:
    return Descent(list(model.weights[job.id].values()), job.descending.weight_decay, job.descending.max_grad_norm)


def tallied(loss: Tensor, right: Tensor) -> Tally:
    """Make sums over trained tokens of a sum of losses, and of what was guessed, bool `[labels]`."""
    tally = Tally()
    tally.loss, tally.num_right, tally.num_tokens = float(loss.detach()), int(right.sum()), len(right)
    return tally


def train_together(engine: Together, policy: Policy[PipelineView]) -> Seconds:
    """Train all jobs to their ends as a policy says; returns how long it took, in seconds.

    A job whose loss or gradient is no number ends there, and says `why`; the others go on.
    """
    start_s = time.perf_counter()
    asyncio.run(serve(engine, policy))
    return time.perf_counter() - start_s
