"""Who is in a step: which request is which row, and which rows are due a token.

The common step of a busy engine (the same requests as in the step before, one token each) is lined up without looking
at any of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headway.core.nouns import Id
from headway.engines.llm.loop.live import Live
from headway.engines.llm.model.rows import Columns
from headway.engines.llm.model.slots import Ints
from headway.policies.serving.nouns import Piece, Step


class Lineup:
    """The rows of one step.

    Parameters
    ----------
    step : Step
        What is to be run.
    lives : mapping of str to Live
        The requests it is about, among others.
    num_layers : int
        Layers of the model.

    Attributes
    ----------
    rows : Columns
        For the runner.
    due : list of Live
        The requests that sample, in the order of the rows; `ids` and `slots` are theirs.
    until : int64 array
        How many more tokens until something is due beside the token itself, for each of `due` (see `Live`).
    stop_ids : frozenset of int
        Tokens that end any of `due`.
    planned : list of int
        Which of `due` have a recipe.
    num_tokens : int
        Tokens computed in one run.
    """

    def __init__(self, step: Step, lives: Mapping[Id, Live], num_layers: int) -> None:
        mine = [lives[piece.request] for piece in step.pieces]
        sample = [_emits(live, piece, num_layers) for live, piece in zip(mine, step.pieces, strict=True)]
        layers = [piece.layers for piece in step.pieces]
        counts = np.array([piece.tokens for piece in step.pieces], np.int64)
        slots = np.array([live.slot for live in mine], np.int64)
        starts = np.array([live.state.computed_tokens for live in mine if live.state is not None], np.int64)
        ragged = any(layers)
        self.rows = Columns(slots, starts, counts, None if all(sample) else sample, layers if ragged else None)
        self.num_tokens = int(counts.sum())
        self.due = [live for live, emits in zip(mine, sample, strict=True) if emits]
        self.ids = [live.id for live in self.due]
        self.slots = slots[np.array(sample, bool)]
        self.until = np.array([_until(live) for live in self.due], np.int64)
        self.stop_ids = frozenset[int]().union(*{live.stop_ids for live in self.due})
        self.planned = [index for index, live in enumerate(self.due) if live.recipe is not None]
        self._starts: Ints = starts
        self._alike = step.pieces if all(sample) and not ragged and self.num_tokens == len(mine) else ()

    def again(self, step: Step) -> bool:
        """Line up the next step if it is like this one, every request one token further on; says whether it is."""
        # Comparing takes next to nothing: the piece of a decode is always the same object.
        if not step.pieces or step.pieces != self._alike:
            return False
        self._starts = self._starts + 1
        self.rows = Columns(self.rows.slots, self._starts, self.rows.tokens)
        return True


def _emits(live: Live, piece: Piece, num_layers: int) -> bool:
    """Whether a piece ends at the last known token and in the last layer, so that a token follows it."""
    assert live.state is not None
    last_layer = piece.layers is None or piece.layers[1] == num_layers
    return last_layer and live.state.computed_tokens + piece.tokens == live.state.known_tokens


def _until(live: Live) -> int:
    assert live.state is not None
    return live.watch_tokens - live.state.known_tokens
