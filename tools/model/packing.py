"""Pack documents into rows of equal length, so that no document sees another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from words import Encoded


@dataclass
class Row:
    """Documents that share one row."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def add(self, document: Encoded) -> None:
        """Put one more document at the end; its positions start at zero again."""
        owner = self.owners[-1] + 1 if self.owners else 1
        self.ids += document.ids
        self.weights += document.weights
        self.positions += range(len(document.ids))
        self.owners += [owner] * len(document.ids)


@dataclass(frozen=True)
class Batch:
    """Rows as tensors, each `[rows, tokens]`; `mask` is `[rows, 1, tokens, tokens]`."""

    ids: torch.Tensor
    weights: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor


def pack(documents: Iterable[Encoded], num_tokens: int, num_open: int = 16) -> Iterator[Row]:
    """Yield rows of at most `num_tokens` tokens; a longer document is cut at its end.

    Parameters
    ----------
    documents
        What to pack, in order.
    num_tokens
        Length of a row, >= 1.
    num_open
        How many rows are filled at the same time, >= 1. Default 16.
    """
    rows: list[Row] = []
    for document in documents:
        cut = Encoded(document.ids[:num_tokens], document.weights[:num_tokens])
        fitting = [row for row in rows if len(row.ids) + len(cut.ids) <= num_tokens]
        row = max(fitting, key=lambda one: len(one.ids), default=None)
        if row is None:
            rows.append(row := Row())
        row.add(cut)
        if len(rows) > num_open:
            fullest = max(rows, key=lambda one: len(one.ids))
            rows.remove(fullest)
            yield fullest
    yield from rows


def _filled(values: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in values])


def collate(rows: list[Row], num_tokens: int) -> Batch:
    """Return rows as one batch of width `num_tokens`; padding has owner 0 and weight 0."""
    owners = _filled([row.owners for row in rows], num_tokens)
    same = owners[:, None, :, None] == owners[:, None, None, :]
    causal = torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril()
    weights = torch.tensor([row.weights + [0.0] * (num_tokens - len(row.ids)) for row in rows])
    return Batch(
        _filled([row.ids for row in rows], num_tokens),
        weights,
        _filled([row.positions for row in rows], num_tokens),
        same & causal,
    )
