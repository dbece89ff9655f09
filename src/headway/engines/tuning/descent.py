"""Down the gradient: AdamW over the weights of an adapter, fed by microbatches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import TuneError

_KEPT = ("step", "exp_avg", "exp_avg_sq")


class Descent:
    """Adds up the gradients of a batch, then makes a step.

    Parameters
    ----------
    weights : sequence of nn.Parameter
        What is trained.
    weight_decay : float
        Of AdamW.
    max_grad_norm : float
        Longer gradients are shortened to this norm; 0 leaves them as they are.
    """

    def __init__(self, weights: Sequence[nn.Parameter], weight_decay: float, max_grad_norm: float) -> None:
        self._weights = list(weights)
        self._adamw = torch.optim.AdamW(self._weights, lr=0.0, weight_decay=weight_decay, fused=True)
        self._max_norm = max_grad_norm

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add the gradients of a microbatch, one per weight; None where it had no part."""
        for weight, gradient in zip(self._weights, gradients, strict=True):
            if gradient is not None:
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)

    def step(self, learning_rate: float) -> None:
        """Update the weights with what was added, and begin anew.

        Raises
        ------
        TuneError
            When the gradient is no number; the weights stay as they are.
        """
        found = [weight.grad for weight in self._weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(found)
        if not math.isfinite(norm):
            raise TuneError(
                f"tune: the gradient must be a number, got a norm of {float(norm)}. Try a smaller learning_rate."
            )
        if self._max_norm:
            torch.nn.utils.clip_grads_with_norm_(self._weights, self._max_norm, norm)
        self._adamw.param_groups[0]["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad()

    def state(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Return copies of what AdamW knows of each weight, by their names; nothing before the first step."""
        return {
            f"{name}.{what}": self._adamw.state[weight][what].to("cpu", copy=True)
            for name, weight in zip(names, self._weights, strict=True)
            for what in _KEPT
            if weight in self._adamw.state
        }

    def restore(self, names: Sequence[str], state: Mapping[str, Tensor]) -> None:
        """Go on from such copies."""
        for name, weight in zip(names, self._weights, strict=True):
            if f"{name}.{_KEPT[0]}" in state:
                self._adamw.state[weight] = {what: state[f"{name}.{what}"].to(weight, copy=True) for what in _KEPT}
