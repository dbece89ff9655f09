"""The step that a busy instance runs over and over: the same requests, one token each.

A board recognises it by its pieces (the piece of a decode is always the same object, so comparing two such steps costs
next to nothing) and then need not look every request up again. The outcome is that of the long way.
"""

from __future__ import annotations

from headway.core.nouns import Seconds
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import RequestState

Growth = list[tuple[RequestState, int]]
"""Requests, and how many blocks each is to be given."""


class Decodes:
    """The pieces of a step in which every request decodes, with the records of these requests.

    It holds until any of them leaves its instance or another step is accepted there; the board drops it then.

    Parameters
    ----------
    pieces : tuple of Piece
        Of the step.
    states : list of RequestState
        Whom they are about, in the same order.
    """

    __slots__ = ("pieces", "states")

    def __init__(self, pieces: tuple[Piece, ...], states: list[RequestState]) -> None:
        self.pieces = pieces
        self.states = states

    @staticmethod
    def of(step: Step, states: list[RequestState]) -> Decodes | None:
        """Return what to remember of a step that is about to run, or None when it is not decodes alone."""
        for piece, state in zip(step.pieces, states, strict=True):
            if piece.layers is not None or state.layers_done or not state.decoding:
                return None
        return Decodes(step.pieces, states) if states else None

    def growth(self, step: Step, block_size: int) -> Growth:
        """List the blocks to add before `step`, which has these pieces, is run."""
        later = step.repeat - 1
        return [
            (state, -(-(state.known_tokens + later - state.kv_tokens) // block_size))
            for state in self.states
            if state.known_tokens + later > state.kv_tokens
        ]

    def advance(self, now_s: Seconds, block_size: int) -> list[RequestState]:
        """Note that the step was run once; returns the requests that have filled a block."""
        full = []
        for state in self.states:
            computed = state.computed_tokens = state.known_tokens
            state.known_tokens = computed + 1
            state.output_tokens += 1
            state.last_token_s = now_s
            if not computed % block_size:
                full.append(state)
        return full
