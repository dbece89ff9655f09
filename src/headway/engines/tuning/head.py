"""The loss of hidden states that leave the last layer, and its gradient, without all logits being there at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_MOST_LOGITS = 1 << 24
"""The most logits that are there at once."""


class Tally:
    """Sums over trained tokens.

    Attributes
    ----------
    loss : float
        Sum of the losses, in nats.
    num_right : int
        How many tokens the model would have guessed.
    num_tokens : int
        How many tokens there were.
    """

    def __init__(self) -> None:
        self.loss = 0.0
        self.num_right = 0
        self.num_tokens = 0

    def add(self, other: Tally) -> None:
        """Count what another one has counted."""
        self.loss += other.loss
        self.num_right += other.num_right
        self.num_tokens += other.num_tokens


def loss_of(
    leave: Callable[[Tensor], Tensor], hidden: Tensor, wanted: Tensor, vocab_size: int, scale: float
) -> tuple[Tally, Tensor | None]:
    """Compute the loss of hidden states, and its gradient.

    Parameters
    ----------
    leave : callable
        From hidden states `[tokens, width]` to logits `[tokens, vocab]`.
    hidden : Tensor
        Of the tokens before the trained ones, `[tokens, width]`.
    wanted : Tensor
        The trained tokens, `[tokens]`.
    vocab_size : int
        Width of the logits.
    scale : float
        What the gradient is multiplied by; 0 when none is wanted.

    Returns
    -------
    tuple
        The sums, and the gradient of ``scale * loss`` `[tokens, width]`, or None.
    """
    tally, gradients = Tally(), list[Tensor]()
    rows = max(1, _MOST_LOGITS // vocab_size)
    for part, labels in zip(torch.split(hidden, rows), torch.split(wanted, rows), strict=True):
        part = part.detach().requires_grad_(bool(scale))
        with torch.set_grad_enabled(bool(scale)):
            logits = leave(part).float()
            loss = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        tally.loss += float(loss.detach())
        tally.num_right += int((logits.detach().argmax(-1) == labels).sum())
        tally.num_tokens += len(labels)
        if scale:
            gradients += torch.autograd.grad(loss, part, torch.full_like(loss, scale))
    return tally, torch.cat(gradients) if scale else None
