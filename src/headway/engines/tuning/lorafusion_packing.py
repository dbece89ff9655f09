"""A microbatch of several adapters as one row of tokens: no padding between examples, whole tiles per adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.numerics.bins import rounded_up
from headway.policies.tuning.lorafusion_nouns import Mix


class Data(Protocol):
    """The examples of a job."""

    def __getitem__(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the tokens of an example, and which of them are trained."""


@dataclass(frozen=True)
class Span:
    """Where something lies in the row: `[start, stop)`."""

    start: int
    stop: int


@dataclass(frozen=True)
class Example:
    """Where an example lies, and which one it is, for dice."""

    at: Span
    key: tuple[int, ...]


@dataclass
class Share:
    """What one adapter has in the row.

    Attributes
    ----------
    at : Span
        Its rows, whole tiles.
    examples : list of Example
        Its examples, in order.
    labels : Span
        Which of the row's labels are its own.
    """

    at: Span
    examples: list[Example]
    labels: Span


@dataclass
class Packed:
    """One row of tokens.

    Attributes
    ----------
    ids, positions : Tensor
        Int64 `[1, tokens]`; a position counts from the start of its example.
    sequences : list of int
        Lengths of what attends to itself alone, in order; they fill the row.
    before, labels : Tensor
        Rows that foretell a trained token, and that token; int64 `[labels]`.
    shares : dict of str to Share
        By job.
    """

    ids: Tensor
    positions: Tensor
    sequences: list[int]
    before: Tensor
    labels: Tensor
    shares: dict[str, Share]


@dataclass(frozen=True)
class Order:
    """Which example of a job's data is which of a global batch.

    Attributes
    ----------
    batches : tuple of tuple of int
        Numbers of examples, by global batch.
    seed : int
        Of the dice of dropout.
    first : int
        How many global batches came before these; 0.
    """

    batches: tuple[tuple[int, ...], ...]
    seed: int = 0
    first: int = 0


def pack_row(
    mix: Mix, data: Mapping[str, Data], orders: Mapping[str, Order], tile_tokens: int, device: torch.device
) -> Packed:
    """Lay the examples of a microbatch side by side.

    Parameters
    ----------
    mix : Mix
        The microbatch.
    data, orders : mapping
        By job: its examples, and the order in which they are trained.
    tile_tokens : int
        The rows of each adapter are padded to a multiple of this, >= 1.
    device : torch.device
        Where it goes.
    """
    row = _Row(tile_tokens)
    for part in mix.parts:
        order = orders[part.job]
        for number in part.samples:
            example = order.batches[part.batch][number]
            row.add(*data[part.job][example], (order.seed, order.first + part.batch, example))
        row.close(part.job)
    return row.packed(device)


class _Row:
    def __init__(self, tile_tokens: int) -> None:
        self._tile_tokens = tile_tokens
        self._ids: list[NDArray[np.int32]] = []
        self._before: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int32]] = []
        self._sequences: list[int] = []
        self._shares: dict[str, Share] = {}
        self._examples: list[Example] = []
        self._num_tokens = self._num_labels = 0
        self._start = self._first_label = 0

    def add(self, ids: NDArray[np.int32], trained: NDArray[np.bool_], key: tuple[int, ...]) -> None:
        places = np.flatnonzero(trained)
        self._before.append(places - 1 + self._num_tokens)
        self._labels.append(ids[places])
        self._num_labels += len(places)
        self._examples.append(Example(Span(self._num_tokens, self._num_tokens + len(ids)), key))
        self._append(ids)

    def close(self, job: str) -> None:
        """End the rows of an adapter; what is missing from a whole tile is an example that teaches nothing."""
        num = self._num_tokens - self._start
        if missing := rounded_up(num, self._tile_tokens) - num:
            self._append(np.zeros(missing, np.int32))
        at, labels = Span(self._start, self._num_tokens), Span(self._first_label, self._num_labels)
        self._shares[job] = Share(at, self._examples, labels)
        self._start, self._first_label, self._examples = self._num_tokens, self._num_labels, []

    def _append(self, ids: NDArray[np.int32]) -> None:
        self._ids.append(ids)
        self._sequences.append(len(ids))
        self._num_tokens += len(ids)

    def packed(self, device: torch.device) -> Packed:
        def joined(parts: list[NDArray[np.int32]] | list[NDArray[np.int64]]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(device)

        positions = joined([np.arange(num, dtype=np.int64) for num in self._sequences])
        return Packed(
            ids=joined(self._ids)[None],
            positions=positions[None],
            sequences=self._sequences,
            before=joined(self._before),
            labels=joined(self._labels),
            shares=self._shares,
        )


def draw_mask(packed: Packed, dropout: Mapping[str, float], width: int, place: int) -> Tensor | None:
    """Draw which inputs of the adapters are kept, example by example, so that the packing does not matter.

    Parameters
    ----------
    packed : Packed
        The row.
    dropout : mapping of str to float
        By job, in [0, 1).
    width : int
        Inputs of the layer.
    place : int
        Which layer it is.

    Returns
    -------
    Tensor or None
        Bool `[tokens, width]`; None when nothing is dropped.
    """
    if not any(dropout.get(job) for job in packed.shares):
        return None
    keep = torch.ones(packed.ids.shape[1], width, dtype=torch.bool)
    for job, share in packed.shares.items():
        if frac := dropout.get(job, 0.0):
            for example in share.examples:
                words = np.random.SeedSequence((*example.key, place)).generate_state(2, np.uint32)
                generator = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
                keep[example.at.start : example.at.stop].bernoulli_(1.0 - frac, generator=generator)
    return keep.to(packed.ids.device)
