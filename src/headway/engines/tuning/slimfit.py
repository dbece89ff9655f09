"""SlimFit in real time: fine-tune a model, most of which is frozen in each iteration.

The policy decides what is frozen, and is the one that decides in virtual time; see `headway.policies.tuning.slimfit`.

Source: Ardakani et al., "SlimFit: Memory-Efficient Fine-Tuning of Transformer-based Models Using Training Dynamics",
2023, arXiv 2305.18513, and the code that its authors released. As there: what slim layers keep, its bits, the tenth of
a frozen LayerNorm (over all of its output), biases that are always trained, the learning rate that falls in a line.
As in the paper, and not in that code: softmax is kept in 8 bits, once for both of its uses. Ours: the floor under the
weights that changes are divided by, a trained LayerNorm keeps its normalised output instead of its input, and masks of
dropout take a byte each on every device.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from headway.core.actions import Action, Reject
from headway.core.drivers import serve
from headway.core.errors import ConfigError, TuneError
from headway.core.events import Arrived, Event, Failed, Finished
from headway.core.nouns import Resource
from headway.core.policy import Policy
from headway.engines.tuning.slimfit_layers import slim
from headway.engines.tuning.slimfit_recipe import FineTuned, Recipe
from headway.engines.tuning.slimfit_units import SavedBytes, job_of, placed, relative_change, units_of
from headway.policies.tuning.slimfit import SlimFit
from headway.policies.tuning.slimfit_board import BYTES, FreezingBoard, FreezingView
from headway.policies.tuning.slimfit_nouns import FreezingJob, UnitsTrained

Batch = Mapping[str, Tensor]
LossOf = Callable[[nn.Module, Batch], Tensor]
JOB = "fine-tuning"
DEVICE = "device"


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Return the loss that models of transformers return when they are given labels."""
    return model(**batch).loss  # type: ignore[no-any-return]


class SlimFitEngine:
    """Runs iterations of one model as a policy asks for them.

    Parameters
    ----------
    model : torch.nn.Module
        Where it is, with its layers as they are (see `slim`); changed in place.
    batches : sequence of mapping of str to torch.Tensor
        What each iteration computes, in order; the first as large as any.
    recipe : Recipe
        How.
    freeze_frac : float or None
        The share of units to freeze, in [0, 1); None leaves it to the policy.
    loss : callable of (model, batch) -> torch.Tensor
        What is made small.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        recipe: Recipe,
        *,
        freeze_frac: float | None = None,
        loss: LossOf = loss_of,
    ) -> None:
        if not batches:
            raise ConfigError("slimfit: there must be a batch, got none. Give one for each iteration.")
        self._model, self._batches, self._recipe, self._loss = model, batches, recipe, loss
        self._units = units_of(model, recipe.always)
        if not self._units:
            raise ConfigError("slimfit: a model must have weights, got none. Give one that can be trained.")
        self.why = ""  # it ended before its time
        self._begin_s = time.perf_counter()
        self.view = FreezingBoard([Resource(id=DEVICE, kind="device", capacity={BYTES: recipe.memory_bytes})])
        self.result = FineTuned(job=self._job(freeze_frac))
        self._optimizer = self._make_optimizer()

    async def events(self) -> AsyncIterator[Event]:
        """Yield the job's arrival, and the end of each iteration."""
        self.view.add(self.result.job)
        yield Arrived(at_s=self._now_s(), work=self.result.job)
        while (state := self.view.jobs.get(JOB)) is not None:
            if not state.active:
                raise TuneError(
                    "slimfit: the policy must name units for an iteration, got nothing. Try tuning/slimfit."
                )
            yield self._iterate(state.active, state.num_done)

    async def apply(self, action: Action) -> str | None:
        """Carry out an action; returns why not, having changed nothing, when it cannot be."""
        if isinstance(action, Reject):
            self.why = f"its job was rejected: {action.why}"
        return self.view.apply(action)

    def _iterate(self, active: tuple[int, ...], num_done: int) -> Event:
        begin_s = time.perf_counter()
        loss, changes = self._train(active, num_done)
        took_s, result = time.perf_counter() - begin_s, self.result
        self.view.now_s = self._now_s()
        if not math.isfinite(loss):
            self.view.finish(JOB)
            self.why = f"the loss of iteration {num_done} must be a number, got {loss}; try a lower learning rate"
            return Failed(at_s=self.view.now_s, id=JOB, why=self.why)
        result.losses.append(loss)
        result.active.append(active)
        result.changes.append(changes)
        result.took_s.append(took_s)
        if self.view.end_iteration(JOB).num_done == len(self._batches):
            self.view.finish(JOB)
            return Finished(at_s=self.view.now_s, id=JOB)
        return UnitsTrained(at_s=self.view.now_s, job=JOB, active=active, changes=changes, took_s=took_s)

    def _train(self, active: tuple[int, ...], num_done: int) -> tuple[float, tuple[float, ...]]:
        """Run one iteration; returns the loss and by how much each unit changed, nothing when the loss is no number."""
        self._freeze_all_but(active)
        with SavedBytes(self._model.parameters()) if self._recipe.counts_bytes else nullcontext() as saved:
            loss = self._loss(self._model, placed(self._batches[num_done], self._model))
        if saved is not None:
            self.result.saved_bytes.append(saved.num_bytes)
        if not math.isfinite(value := loss.item()):
            return value, ()
        loss.backward()  # type: ignore[no-untyped-call]
        before = [self._units[place].weight.detach().clone() for place in active]  # activations are gone by now
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * (1.0 - num_done / len(self._batches))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)  # without a gradient no moment moves, and no weight decays
        pairs = zip(active, before, strict=True)
        return value, tuple([relative_change(self._units[place].weight.detach(), old) for place, old in pairs])

    def _freeze_all_but(self, active: tuple[int, ...]) -> None:
        for unit in self._units:
            unit.weight.requires_grad_(False)
            for bias in unit.biases:
                bias.requires_grad_(self._recipe.all_biases)
        for place in active:
            self._units[place].weight.requires_grad_(True)
            for bias in self._units[place].biases:
                bias.requires_grad_(True)

    def _job(self, freeze_frac: float | None) -> FreezingJob:
        batch = placed(self._batches[0], self._model)
        with torch.random.fork_rng():
            return job_of(
                self._model,
                self._units,
                lambda: self._loss(self._model, batch),
                id=JOB,
                num_iterations=len(self._batches),
                freeze_frac=freeze_frac,
            )

    def _make_optimizer(self) -> torch.optim.AdamW:
        weights = [unit.weight for unit in self._units]
        known = {id(weight) for weight in weights}
        others = [one for one in self._model.parameters() if one.requires_grad and id(one) not in known]
        groups = [
            {"params": weights + [one for one in others if one.dim() > 1], "weight_decay": self._recipe.weight_decay},
            {"params": [one for one in others if one.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=self._recipe.learning_rate)

    def _now_s(self) -> float:
        return time.perf_counter() - self._begin_s


def fine_tune(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    freeze_frac: float | None = None,
    policy: Policy[FreezingView] | None = None,
    recipe: Recipe | None = None,
    loss: LossOf = loss_of,
) -> FineTuned:
    """Fine-tune the weights of a model, freezing most of them in each iteration.

    Parameters
    ----------
    model : torch.nn.Module
        On any device; changed in place. Weights that do not require gradients are left alone. Afterwards its layers are
        its own again, and what required gradients does.
    batches : sequence of mapping of str to torch.Tensor
        What each iteration computes, in order; the first as large as any. Repeat them for several epochs.
    freeze_frac : float or None
        The share of units to freeze, in [0, 1); None leaves it to the policy, whose default is 0.9.
    policy : Policy or None
        Who decides what to freeze; `SlimFit` by default.
    recipe : Recipe or None
        Learning rate and the like; their defaults when it is left out.
    loss : callable of (model, batch) -> torch.Tensor
        What is made small; ``model(**batch).loss`` by default.

    Returns
    -------
    FineTuned
        Losses, and what was trained when.

    Raises
    ------
    TuneError
        When the loss is no number, or memory is too small at the highest rate that the policy allows.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 1))
    >>> batches = [{"input": torch.ones(2, 4)}] * 6
    >>> done = fine_tune(model, batches, freeze_frac=0.5, loss=lambda model, batch: model(**batch).square().mean())
    >>> len(done.losses), sum(done.num_trained().values())  # one of two units in each
    (6, 6)
    """
    recipe, policy = recipe or Recipe(), policy or SlimFit()
    was_training, trainable = model.training, [one for one in model.parameters() if one.requires_grad]
    with slim(model, recipe.norm_frac) if recipe.slim_layers else nullcontext(model), torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model.train()
        engine = SlimFitEngine(model, batches, recipe, freeze_frac=freeze_frac, loss=loss)
        try:
            _run(serve(engine, policy, seed=recipe.seed))
        finally:
            model.train(was_training)
            for parameter in trainable:
                parameter.requires_grad_(True)
    if len(engine.result.losses) < len(batches):
        raise TuneError(f"slimfit: {engine.why}.")
    return engine.result


def _run(job: Coroutine[None, None, object]) -> None:
    """Run to the end, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(job)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, job).result()
