"""One microbatch between its first unit and its last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headway.core.errors import TuneError
from headway.engines.tuning.dice import Dice
from headway.engines.tuning.grafting import Grafted
from headway.engines.tuning.head import Tally, loss_of
from headway.engines.tuning.keeping import KeptLayer, keep
from headway.engines.tuning.memory import Memory, OwnMemory
from headway.engines.tuning.order import Rows
from headway.engines.tuning.tokens import Examples


@dataclass(frozen=True)
class Batch:
    """The tokens of a microbatch.

    Attributes
    ----------
    ids : Tensor
        `[rows, tokens]`, padded at the end of each row.
    places : Tensor
        Where the tokens before the trained ones are, in the rows laid end to end, `[trained]`.
    wanted : Tensor
        The trained tokens, `[trained]`.
    """

    ids: Tensor
    places: Tensor
    wanted: Tensor


def batch_of(examples: Examples, rows: Rows, device: torch.device) -> Batch:
    """Lay out the examples of a microbatch."""
    ids = np.zeros((len(rows.examples), rows.length), np.int64)
    trained = np.zeros_like(ids, np.bool_)
    for row, index in enumerate(rows.examples):
        tokens, marks = examples[index]
        ids[row, : len(tokens)], trained[row, : len(tokens)] = tokens, marks
    places = np.flatnonzero(trained)
    wanted = ids.reshape(-1)[places]
    return Batch(*(torch.from_numpy(part).to(device) for part in (ids, places - 1, wanted)))


@dataclass(frozen=True)
class _Entering:
    """What entered a layer, in memory."""

    handle: Any


class UnderWay:
    """Computes one microbatch, some layers at a time.

    Parameters
    ----------
    index : int
        Which of the run.
    rows : Rows
        Its examples.
    batch : Batch
        Their tokens.
    grafted : Grafted
        The model.
    memory : Memory
        Where activations live in between.
    constants : frozenset of int
        Addresses of the weights.
    dice : Dice
        Of its dropout.
    recompute : bool
        Whether only what enters each layer is kept.

    Attributes
    ----------
    phase : str
        What is next: ``"forward"``, ``"backward"`` or, when all is computed, ``"done"``.
    layer : int
        In the forward phase the layer that is next, in the backward phase the one after it.
    tally : Tally
        Its loss, once it has been forward.
    gradients : list of list of Tensor or None
        Those of the weights of each layer, as far as it has come.
    """

    def __init__(
        self,
        index: int,
        rows: Rows,
        batch: Batch,
        grafted: Grafted,
        memory: Memory,
        constants: frozenset[int],
        dice: Dice,
        recompute: bool = False,
    ) -> None:
        self.index = index
        self.rows = rows
        self.phase = "forward"
        self.layer = 0
        self.tally = Tally()
        self.gradients: list[list[Tensor | None]] = [[] for _ in grafted.by_layer]
        self._batch = batch
        self._grafted = grafted
        self._anatomy = grafted.anatomy
        self._memory = memory
        self._constants = constants
        self._dice = dice
        self._lowest = next(place for place, weights in enumerate(grafted.by_layer) if weights)
        self._recompute = recompute
        self._kept: list[KeptLayer | _Entering | None] = []
        self._between: Any = None
        self._calls: list[Any] = []

    def forward(self, last: int) -> None:
        """Compute the layers that are next, up to `last`; after the last of all, the loss."""
        hidden = self._enter() if self.layer == 0 else self._take()
        for index in range(self.layer, last):
            hidden = self._layer(index, hidden)
        self.layer = last
        if last < len(self._calls):
            self._between = self._memory.put(hidden)
        else:
            self._leave(hidden)

    def backward(self, first: int) -> None:
        """Pass the gradient back through the layers that are next, down to `first`."""
        gradient = self._take() if self.layer > self._lowest else None
        while self.layer > first:
            self.layer -= 1
            kept = self._kept.pop()
            if isinstance(kept, _Entering):
                kept = self._again(self.layer, kept)
            if kept is not None and gradient is not None:
                weights = self._grafted.by_layer[self.layer]
                gradient, self.gradients[self.layer] = kept.backward(gradient, weights)
        if first == 0:
            self.phase = "done"
        elif gradient is not None:
            self._between = self._memory.put(gradient)

    def _enter(self) -> Tensor:
        with self._dice.thrown(self.index, len(self._anatomy.layers)):
            hidden, self._calls = self._anatomy.enter(self._batch.ids)
        self._constants |= addresses(tensor for call in self._calls for tensor in call.tensors())
        return hidden

    def _layer(self, index: int, hidden: Tensor) -> Tensor:
        trains = self.rows.trains and index >= self._lowest
        if trains and not self._recompute:
            out, kept = self._keep(index, hidden, self._memory)
            self._kept.append(kept)
            return out
        if self.rows.trains:
            self._kept.append(_Entering(self._memory.put(hidden)) if trains else None)
        with self._dice.thrown(self.index, index), torch.no_grad():
            return self._anatomy.layer(index, hidden, self._calls[index])

    def _keep(self, index: int, hidden: Tensor, memory: Memory) -> tuple[Tensor, KeptLayer | None]:
        with self._dice.thrown(self.index, index):
            return keep(
                lambda x: self._anatomy.layer(index, x, self._calls[index]),
                hidden,
                memory,
                self._constants,
                wants_input=index > self._lowest,
            )

    def _again(self, index: int, entering: _Entering) -> KeptLayer | None:
        """Compute a layer once more, this time to go back through it at once."""
        hidden = self._memory.get(entering.handle)
        self._memory.free(entering.handle)
        return self._keep(index, hidden, OwnMemory())[1]

    def _leave(self, hidden: Tensor) -> None:
        trains, batch = self.rows.trains, self._batch
        flat = hidden.flatten(0, 1)
        scale = 1 / self.rows.batch_trained if trains else 0.0
        self.tally, picked = loss_of(
            self._anatomy.leave, flat[batch.places], batch.wanted, self._anatomy.vocab_size, scale
        )
        if not np.isfinite(self.tally.loss):
            raise TuneError(
                f"tune: the loss must be a number, got {self.tally.loss} in microbatch {self.index}. Try a smaller "
                "learning_rate, or look for broken examples."
            )
        if picked is None:
            self.phase = "done"
            return
        gradient = torch.zeros_like(flat).index_copy_(0, batch.places, picked.to(flat.dtype)).view_as(hidden)
        self._between, self.phase = self._memory.put(gradient), "backward"

    def _take(self) -> Tensor:
        found = self._memory.get(self._between)
        self._memory.free(self._between)
        self._between = None
        return found


def addresses(tensors: Iterable[Tensor]) -> frozenset[int]:
    """Return where the memory of tensors begins."""
    return frozenset(tensor.untyped_storage().data_ptr() for tensor in tensors)
