"""Sparse projectors: gradients into small squares and back, by gathering and scattering rows, never densely."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


class SparseProjector:
    """A matrix P of `rows` x `width` with a few non-zeros in each row.

    Both products are sums of gathered rows: those of P follow from the places of its rows, those of P' from the same
    non-zeros sorted by column. The cost is O(rows x nonzeros x columns of the other), whatever the width.

    Parameters
    ----------
    places : Tensor
        Columns of the non-zeros, whole numbers in [0, width), `[rows, nonzeros]`.
    values : Tensor
        The non-zeros, `[rows, nonzeros]`; may require gradients.
    width : int
        Number of columns, >= 1.

    Examples
    --------
    >>> projector = SparseProjector(torch.tensor([[0], [2]]), torch.tensor([[1.0], [3.0]]), width=3)
    >>> projector.shrink(torch.tensor([[1.0], [2.0]])).flatten().tolist()
    [1.0, 0.0, 6.0]
    """

    def __init__(self, places: Tensor, values: Tensor, width: int) -> None:
        self.places = places
        self.values = values
        self.width = width
        flat = places.flatten()
        self._order = torch.argsort(flat, stable=True)
        self._sources = self._order // places.shape[1]
        columns = torch.arange(width, device=places.device)
        self._starts = torch.searchsorted(flat[self._order].contiguous(), columns)

    @staticmethod
    def random(
        rows: int, width: int, nonzeros: int, generator: torch.Generator, like: Tensor | None = None
    ) -> SparseProjector:
        """Make one with distinct random places in each row and values from N(0, 1 / sqrt(nonzeros)).

        Parameters
        ----------
        rows, width, nonzeros : int
            Its shape, each >= 1; no more non-zeros than columns are used.
        generator : torch.Generator
            The dice, of the processor, so that every device draws the same.
        like : Tensor or None
            Whose device and type of numbers it gets; those of a plain tensor by default.
        """
        nonzeros = min(nonzeros, width)
        places = torch.rand(rows, width, generator=generator).topk(nonzeros, dim=1).indices
        values = torch.randn(rows, nonzeros, generator=generator) / math.sqrt(nonzeros)
        if like is not None:
            places, values = places.to(like.device), values.to(like)
        return SparseProjector(places, values, width)

    def shrink(self, tall: Tensor) -> Tensor:
        """Return P'X, `[width, columns]`, for X of `[rows, columns]`."""
        weights = self.values.flatten()[self._order]
        return functional.embedding_bag(
            self._sources, tall, self._starts, mode="sum", per_sample_weights=weights
        )  # fmt: skip

    def grow(self, short: Tensor) -> Tensor:
        """Return PY, `[rows, columns]`, for Y of `[width, columns]`."""
        return functional.embedding_bag(self.places, short, mode="sum", per_sample_weights=self.values)

    def onto(self, other: SparseProjector) -> Tensor:
        """Return P'R for another projector R of as many rows, `[width, other's width]`, from its non-zeros alone."""
        found = self.values.new_zeros(self.width, other.width)
        pairs = self.values[:, :, None] * other.values[:, None, :]
        rows, columns = (one.expand_as(pairs) for one in (self.places[:, :, None], other.places[:, None, :]))
        return found.index_put_((rows.flatten(), columns.flatten()), pairs.flatten(), accumulate=True)

    @property
    def num_bytes(self) -> int:
        """What it occupies: values, and places of 4 bytes each, as they are sent."""
        return self.values.numel() * (self.values.element_size() + 4)


class Pair:
    """The two projectors of one weight, P for its rows and Q for its columns.

    Parameters
    ----------
    left, right : SparseProjector
        P and Q, of equal width.
    """

    def __init__(self, left: SparseProjector, right: SparseProjector) -> None:
        self.left = left
        self.right = right

    @staticmethod
    def random(weight: Tensor, width: int, nonzeros: int, generator: torch.Generator) -> Pair:
        """Make both at random for a weight of `[rows, columns]`."""
        rows, columns = weight.shape
        return Pair(
            SparseProjector.random(rows, width, nonzeros, generator, weight),
            SparseProjector.random(columns, width, nonzeros, generator, weight),
        )

    def compress(self, gradient: Tensor) -> Tensor:
        """Return P'GQ, `[width, width]`; the longer side is shrunk first."""
        rows, columns = gradient.shape
        if rows >= columns:
            return self.right.shrink(self.left.shrink(gradient).T.contiguous()).T
        return self.left.shrink(self.right.shrink(gradient.T.contiguous()).T.contiguous())

    def decompress(self, square: Tensor) -> Tensor:
        """Return PSQ', `[rows, columns]`; the shorter side is grown first."""
        if len(self.left.places) >= len(self.right.places):
            return self.left.grow(self.right.grow(square.T.contiguous()).T.contiguous())
        return self.right.grow(self.left.grow(square).T.contiguous()).T

    def bias(self, gradient: Tensor) -> Tensor:
        """Return PP'GQQ' - G, `[rows, columns]`."""
        return self.decompress(self.compress(gradient)) - gradient

    def norms(self) -> Tensor:
        """Return the sum of the Frobenius norms of both."""
        found: Tensor = torch.linalg.vector_norm(self.left.values) + torch.linalg.vector_norm(self.right.values)
        return found

    @property
    def num_bytes(self) -> int:
        """What both occupy."""
        return self.left.num_bytes + self.right.num_bytes


def learn(pair: Pair, gradient: Tensor, *, alpha: float, num_steps: int, beta: float, rate: float = 0.1) -> int:
    """Move the values of a pair so that its bias on a gradient shrinks; the places stay. Returns the iterations taken.

    What is minimised is ||PP'GQQ' - G|| / ||G|| + beta (||P|| + ||Q||), in Frobenius norms, by Adam; dividing by ||G||
    only says in which unit beta is. The best values seen are kept.

    Parameters
    ----------
    pair : Pair
        Changed in place.
    gradient : Tensor
        `[rows, columns]`.
    alpha : float
        It ends when the bias is at most this share of the gradient.
    num_steps : int
        Or after so many iterations.
    beta : float
        Weight of the norms, >= 0.
    rate : float
        Learning rate at the start, falling to 0 along half a cosine; 0.1, that of the authors' scripts.
    """
    size = gradient.norm()
    if not size > 0:
        return 0
    values = [pair.left.values.requires_grad_(), pair.right.values.requires_grad_()]
    optimizer = torch.optim.Adam(values, lr=rate)
    best, kept, num = math.inf, [value.detach().clone() for value in values], 0
    with torch.enable_grad():
        for num in range(num_steps + 1):
            bias = pair.bias(gradient).norm() / size
            if float(bias.detach()) < best:
                best, kept = float(bias.detach()), [value.detach().clone() for value in values]
            if best <= alpha or num == num_steps:
                break
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * num / num_steps)) / 2
            optimizer.zero_grad()
            torch.autograd.backward(bias + beta * pair.norms())
            optimizer.step()
    pair.left.values, pair.right.values = kept
    return num
