"""What one step of the runner computes: pieces of sequences, given one by one or column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from headway.engines.llm.model.slots import Ints


class Row(NamedTuple):
    """One piece of a step: the next tokens of one slot.

    Parameters
    ----------
    slot : int
        The slot that `Runner.open` gave.
    start : int
        First position computed (the tokens computed so far), >= 0.
    tokens : int
        How many positions are computed, >= 1; they must be known (`open`, `append`) and have blocks (`set_blocks`).
    layers : tuple of int or None
        The layers ``[first, last)`` it goes through; None for all. A piece that stops before the last layer must be
        continued from there, with the same `start` and `tokens`, before anything else is run on its slot; or it is
        begun again from layer 0.
    sample : bool
        Whether the logits after its last token are wanted. Only for pieces that reach the last layer.
    """

    slot: int
    start: int
    tokens: int
    layers: tuple[int, int] | None = None
    sample: bool = True


class Columns:
    """The pieces of one step, column by column: entry `i` of each column is about piece `i`.

    Building five lists costs a tenth of building as many `Row` objects, and a scheduler does it at every step.

    Parameters
    ----------
    slots, starts, tokens : sequence of int
        As in `Row`. Lists or numpy arrays.
    sample : sequence of bool or None
        As in `Row`; None when every piece wants logits.
    layers : sequence or None
        As in `Row`; None when every piece goes through all layers.
    """

    __slots__ = ("layers", "sample", "slots", "starts", "tokens")

    def __init__(
        self,
        slots: Sequence[int] | Ints,
        starts: Sequence[int] | Ints,
        tokens: Sequence[int] | Ints,
        sample: Sequence[bool] | None = None,
        layers: Sequence[tuple[int, int] | None] | None = None,
    ) -> None:
        self.slots = slots
        self.starts = starts
        self.tokens = tokens
        self.sample = sample
        self.layers = layers

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Columns:
        """Turn rows into columns."""
        slots, starts, tokens, layers, sample = zip(*rows, strict=True)
        return cls(slots, starts, tokens, sample, layers if any(range_ is not None for range_ in layers) else None)
