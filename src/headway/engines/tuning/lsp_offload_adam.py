"""The host's side of offloading: Adam over whatever travels, and its moments carried over to new subspaces."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headway.engines.tuning.lsp_offload_projector import Pair


@dataclass
class Moments:
    """First and second moment of one tensor, and how many updates they have seen."""

    first: Tensor
    second: Tensor
    num: int = 0


class HostAdam:
    """Adam (no weight decay) that keeps the moments of tensors by name and answers a gradient with an update.

    Parameters
    ----------
    learning_rate : float
        Of the first step, > 0.
    num_steps : int
        Steps in which it falls linearly to 0; 0, the default, leaves it.
    betas : (float, float)
        Decay of the moments, each in [0, 1); (0.9, 0.999).
    eps : float
        Added to the root of the second moment, > 0; 1e-8.
    """

    def __init__(
        self,
        learning_rate: float,
        *,
        num_steps: int = 0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.learning_rate = learning_rate
        self.num_steps = num_steps
        self.betas = betas
        self.eps = eps
        self.moments: dict[str, Moments] = {}

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.learning_rate * (1 - step / self.num_steps if self.num_steps else 1.0)

    def update(self, name: str, gradient: Tensor, step: int) -> Tensor:
        """Take in a gradient and return what is to be subtracted, of the same shape."""
        kept = self.moments.get(name)
        if kept is None:
            kept = self.moments[name] = Moments(torch.zeros_like(gradient), torch.zeros_like(gradient))
        beta1, beta2 = self.betas
        kept.num += 1
        kept.first.lerp_(gradient, 1 - beta1)
        kept.second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (kept.second / (1 - beta2**kept.num)).sqrt_().add_(self.eps)
        return (kept.first / root).mul_(self.rate(step) / (1 - beta1**kept.num))

    def carry(self, name: str, old: Pair, new: Pair) -> None:
        """Carry the moments of a square over from one pair of projectors to another.

        M becomes P1'P M Q'Q1, and V becomes (P1'P)^2 V (Q'Q1)^2 with squares taken element by element, as if the
        elements of the gradient were independent (our reading of the publication).
        """
        kept = self.moments.get(name)
        if kept is None:
            return
        left, right = new.left.onto(old.left), old.right.onto(new.right)
        kept.first = left @ kept.first @ right
        kept.second = left.square() @ kept.second @ right.square()

    @property
    def num_bytes(self) -> int:
        """What the moments occupy."""
        return sum(2 * one.first.numel() * one.first.element_size() for one in self.moments.values())
