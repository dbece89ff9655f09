"""Which examples are computed when: batches of the optimizer, cut into microbatches of rows of like length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headway.policies.serving.nouns import Microbatch

if TYPE_CHECKING:
    from headway.engines.tuning.spec import TuneSpec
    from headway.engines.tuning.tokens import Examples

Lengths = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """The examples of one microbatch.

    Attributes
    ----------
    examples : tuple of int
        Which.
    length : int
        Of the longest, in tokens; the others are padded to it.
    batch_trained : int
        Trained tokens of the whole batch that they are part of, by which its loss is divided.
    trains : bool
        Whether they are trained on.
    updates : bool
        Whether they are the last of their batch.
    """

    examples: tuple[int, ...]
    length: int
    batch_trained: int
    trains: bool = True
    updates: bool = False

    @property
    def microbatch(self) -> Microbatch:
        """What a scheduler is told."""
        return Microbatch(len(self.examples) * self.length, self.trains, self.updates)


class Course:
    """All microbatches of a run: epoch by epoch, each with a validation at its end if there is something to validate.

    Parameters
    ----------
    spec : TuneSpec
        The run.
    examples : Examples
        What is trained on.
    valid : Examples or None
        What is validated on.

    Attributes
    ----------
    rows : list of Rows
        The microbatches.
    num_steps : int
        Steps of the optimizer.
    """

    def __init__(self, spec: TuneSpec, examples: Examples, valid: Examples | None) -> None:
        most, lengths, trained = spec.microbatch_tokens, examples.lengths, examples.num_trained
        validation = validation_order(valid.lengths, valid.num_trained, most) if valid else []
        self.rows: list[Rows] = []
        self._epoch_ends = set[int]()
        for epoch in range(spec.num_epochs):
            self.rows += training_order(lengths, trained, spec.batch_size, most, spec.seed, epoch)
            self._epoch_ends.add(len(self.rows))
            self.rows += validation
        self.num_steps = sum(rows.updates for rows in self.rows)

    def ends_epoch(self, position: int) -> bool:
        """Whether what comes before a position has trained an epoch to its end."""
        return position in self._epoch_ends

    def ends_validation(self, position: int) -> bool:
        """Whether what comes before a position has validated to the end."""
        validates = position > 0 and not self.rows[position - 1].trains
        return validates and (position == len(self.rows) or self.rows[position].trains)


def training_order(
    lengths: Lengths, num_trained: Lengths, batch_size: int, most_tokens: int, seed: int, epoch: int
) -> list[Rows]:
    """Return the microbatches of one epoch, in order.

    Parameters
    ----------
    lengths, num_trained : numpy.ndarray
        Tokens, and trained tokens, of each example, `[examples]`.
    batch_size : int
        Examples per batch, >= 1.
    most_tokens : int
        The most tokens of a microbatch, padding included, >= 1; a longer example stands alone.
    seed, epoch : int
        Of the order.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(lengths))
    found: list[Rows] = []
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        total = int(num_trained[batch].sum())
        cut = _cut(batch, lengths, most_tokens)
        found += [Rows(rows, length, total, True, index == len(cut) - 1) for index, (rows, length) in enumerate(cut)]
    return found


def validation_order(lengths: Lengths, num_trained: Lengths, most_tokens: int) -> list[Rows]:
    """Return the microbatches of one validation, in order."""
    total = int(num_trained.sum())
    return [Rows(rows, length, total, trains=False) for rows, length in _cut(range(len(lengths)), lengths, most_tokens)]


def _cut(
    batch: Sequence[int] | Lengths | range, lengths: Lengths, most_tokens: int
) -> list[tuple[tuple[int, ...], int]]:
    """Lay examples of like length together, as many as will do; returns them with the length of the longest."""
    found: list[tuple[tuple[int, ...], int]] = []
    rows: list[int] = []
    for example in sorted((int(one) for one in batch), key=lambda one: (-lengths[one], one)):
        if rows and (len(rows) + 1) * lengths[rows[0]] > most_tokens:
            found.append((tuple(rows), int(lengths[rows[0]])))
            rows = []
        rows.append(example)
    if rows:
        found.append((tuple(rows), int(lengths[rows[0]])))
    return found
