"""Which operation comes next on a lane, and orders to hold LSP-Offload's against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from headway.core.actions import Action, Start
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.policies.tuning.lsp_offload_nouns import LANES, SLOT, Begin, Lane, OffloadView, Op, What

GPU_ORDER: tuple[What, ...] = ("compress", "backward", "apply", "forward")
"""What the links wait for comes first."""


def start(op: Op) -> Start:
    """Return the action that starts an operation."""
    return Start(op.id, {op.lane: SLOT})


def soonest_needed(ready: Iterable[Op], lane: Lane) -> Op | None:
    """Return the ready operation whose layer the next forward pass needs first; on the accelerator by kind before."""
    if lane == "gpu":
        return min(ready, key=lambda op: (GPU_ORDER.index(op.what), op.urgency), default=None)
    return min(ready, key=lambda op: op.urgency, default=None)


def oldest(ready: Iterable[Op], lane: Lane) -> Op | None:
    """Return the operation that became ready first; on the accelerator by kind before."""
    if lane == "gpu":
        return min(ready, key=lambda op: GPU_ORDER.index(op.what), default=None)
    return next(iter(ready), None)


class PlainOffload:
    """Offloads whole gradients, as ZeRO-Offload does, or squares in an order that is not LSP-Offload's: a baseline.

    Parameters
    ----------
    order : str
        ``"phases"`` (updates begin when all gradients are down, transfers up when all updates are done, the next step
        when all are up: ZeRO-Offload as the publication's time model has it), ``"arrival"`` (by layers, first come
        first served) or ``"layers"`` (by layers, soonest needed first); ``"phases"``.
    width : int
        Side of the squares in which gradients travel, >= 0; 0, whole.
    nonzeros : int
        Non-zeros of each row of a projector, >= 1; 8.
    learn_alpha : float
        Projectors are learnt once, in the first step, until the bias is at most this, >= 0; infinite (never).
    learn_steps : int
        Or for so many iterations, >= 0; 100.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.
    """

    def __init__(
        self,
        *,
        order: str = "phases",
        width: int = 0,
        nonzeros: int = 8,
        learn_alpha: float = float("inf"),
        learn_steps: int = 100,
    ) -> None:
        if order not in ("phases", "arrival", "layers"):
            raise ConfigError(f"plain offload: order must be phases, arrival or layers, got {order!r}. Try phases.")
        self.order = order
        self.width = width
        self.nonzeros = nonzeros
        self.learn_alpha = learn_alpha
        self.learn_steps = learn_steps

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing is learnt here."""

    def decide(self, event: Event, view: OffloadView) -> Iterator[Action]:
        """Begin the next job where none runs, and give every idle lane an operation."""
        progress = view.under_way
        if progress is None:
            for id in list(view.jobs)[:1]:
                yield Begin(id, self.width, self.nonzeros, self.learn_alpha, self.learn_steps, 1e-4)
            return
        for lane in LANES:
            if view.is_idle(lane) and (op := self._next(view, lane)) is not None:
                yield start(op)

    def _next(self, view: OffloadView, lane: Lane) -> Op | None:
        ready = [op for op in view.ready(lane) if self.order != "phases" or self._may(op, view)]
        op = (soonest_needed if self.order == "layers" else oldest)(ready, lane)
        progress = view.under_way
        if op is not None and op.what == "compress" and progress is not None and self.learn_alpha < float("inf"):
            if progress.checked_at(op.layer) < 0:
                return Op(op.job, op.step, op.layer, "check")
            if progress.learnt_at(op.layer) < 0:
                return Op(op.job, op.step, op.layer, "learn")
        return op

    def _may(self, op: Op, view: OffloadView) -> bool:
        """Whether the phase of an operation has come."""
        before: dict[What, What] = {"update": "down", "up": "update", "apply": "up"}
        progress = view.under_way
        if progress is None:
            return False
        num = len(progress.job.layers)
        if op.what == "forward":
            return op.step == 0 or progress.num_done(op.step - 1, "apply") == num
        return op.what not in before or progress.num_done(op.step, before[op.what]) == num
