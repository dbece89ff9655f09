"""One step of the engine: rows for the runner, a token for every request that is due one, and the news of it.

The common step of a busy engine (the same requests as in the step before, one token each) is laid out without looking at
any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headway.core.clock import Clock
from headway.core.nouns import Id
from headway.engines.llm.hashing import BlockHasher
from headway.engines.llm.live import NO_SLOT, Live
from headway.engines.llm.messages import Output, TokenLogprob
from headway.engines.llm.plan import Plan
from headway.engines.llm.ports import ModelRunner
from headway.engines.llm.rows import Columns
from headway.engines.llm.slots import Ints
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import RequestState

if TYPE_CHECKING:
    from torch import Tensor


class Stepper:
    """Carries out steps that the board has accepted.

    Parameters
    ----------
    runner : ModelRunner
        Runs the model.
    board : ServingBoard
        Keeps the books.
    clock : Clock
        Says when a token is there.
    num_layers : int
        Layers of the model.
    hasher : BlockHasher or None
        Hashes blocks filled by output tokens; None when prefixes are not remembered.

    Attributes
    ----------
    lives : dict of str to Live
        Everything on the board.
    """

    def __init__(
        self, runner: ModelRunner, board: ServingBoard, clock: Clock, num_layers: int, hasher: BlockHasher | None = None
    ) -> None:
        self.lives: dict[Id, Live] = {}
        self._runner = runner
        self._board = board
        self._clock = clock
        self._num_layers = num_layers
        self._hasher = hasher
        self._num_planned = 0  # running requests with a plan
        self._pieces: tuple[Piece, ...] = ()  # of the last step, while the next may be laid out like it
        self._rows = Columns((), (), ())
        self._starts: Ints = np.zeros(0, np.int64)
        self._due: list[Live] = []

    def begin(self, live: Live) -> None:
        """Give a request that has been started its slot."""
        assert live.state is not None
        live.slot = self._runner.open(live.tokens, live.request.adapter)
        self._runner.set_blocks(live.slot, live.state.blocks)
        self._num_planned += live.plan is not None
        self._pieces = ()

    def leave(self, live: Live) -> None:
        """Take the slot of a request that runs no longer."""
        if live.slot == NO_SLOT:
            return
        self._runner.close(live.slot)
        live.slot = NO_SLOT
        self._num_planned -= live.plan is not None
        self._pieces = ()

    def run(self, step: Step) -> list[Output]:
        """Run a step once; returns the news, those with a `finish` about requests that have to end now."""
        self._lay_out(step)
        for state in self._board.grown:
            self._runner.set_blocks(self.lives[state.id].slot, state.blocks)
        logits = self._runner.run(self._rows)
        tokens, logprobs = self._sample(logits)
        emitted = self._board.advance(step, self._clock.now_s())
        assert len(emitted) == len(self._due)
        if not emitted:
            return []
        slots = self._rows.slots if self._rows.sample is None else [live.slot for live in self._due]
        self._runner.append(slots, tokens)
        if logprobs is None:
            return self._news(emitted, tokens)
        return [self._tell(*each) for each in zip(emitted, self._due, tokens, logprobs, strict=True)]

    # Rows ------------------------------------------------------------------------------------------------------------

    def _lay_out(self, step: Step) -> None:
        """Set `_rows`, and `_due` to the requests that sample, in the order of the rows."""
        if step.pieces == self._pieces:  # compares identities: the piece of a decode is always the same object
            self._starts = self._starts + 1
            self._rows = Columns(self._rows.slots, self._starts, self._rows.tokens)
            return
        lives = [self.lives[piece.request] for piece in step.pieces]
        starts = [live.state.computed_tokens for live in lives if live.state is not None]
        sample = [self._emits(live, piece) for live, piece in zip(lives, step.pieces, strict=True)]
        layers = [piece.layers for piece in step.pieces]
        counts = np.array([piece.tokens for piece in step.pieces], np.int64)
        self._starts = np.array(starts, np.int64)
        self._due = lives if all(sample) else [live for live, emits in zip(lives, sample, strict=True) if emits]
        self._rows = Columns(
            np.array([live.slot for live in lives], np.int64),
            self._starts,
            counts,
            None if all(sample) else sample,
            layers if any(layers) else None,
        )
        alike = all(sample) and not any(layers) and int(counts.max(initial=0)) == 1
        self._pieces = step.pieces if alike else ()

    def _emits(self, live: Live, piece: Piece) -> bool:
        """Whether a piece ends at the last known token and in the last layer, so that a token follows it."""
        assert live.state is not None
        last_layer = piece.layers is None or piece.layers[1] == self._num_layers
        return last_layer and live.state.computed_tokens + piece.tokens == live.state.known_tokens

    # Tokens ----------------------------------------------------------------------------------------------------------

    def _sample(self, logits: Tensor | None) -> tuple[list[int], list[TokenLogprob | None] | None]:
        from headway.engines.llm.sampling import greedy, sample

        if logits is None:
            return [], None
        plans: list[Plan | None] = [live.plan for live in self._due] if self._num_planned else []
        if any(plans):
            return sample(logits, plans)
        return greedy(logits), None

    # News ------------------------------------------------------------------------------------------------------------

    def _news(self, emitted: Sequence[RequestState], tokens: list[int]) -> list[Output]:
        """Note plain tokens. Kept to a few operations per request: this runs for all of them at every step."""
        news: list[Output] = []
        add = news.append
        for state, live, token in zip(emitted, self._due, tokens, strict=True):
            if state.known_tokens >= live.watch_tokens or token in live.stop_ids:
                add(self._tell(state, live, token, None))
            else:
                live.tokens.append(token)
                add(Output(id=state.id, tokens=[token]))
        return news

    def _tell(self, state: RequestState, live: Live, token: int, logprob: TokenLogprob | None) -> Output:
        """Note one token and whatever comes with it."""
        live.tokens.append(token)
        if self._hasher is not None:
            self._hasher.extend(state.hashes, live.tokens, live.request.adapter)
            live.watch_tokens = min(live.end_tokens, self._hasher.next_full(state.known_tokens))
        else:
            live.watch_tokens = live.end_tokens
        finish, why = _end(state, live, token)
        is_first = state.output_tokens == 1
        return Output(
            id=state.id,
            tokens=[token],
            logprobs=[] if logprob is None else [logprob],
            finish=finish,
            why=why,
            cached_tokens=state.cached_tokens if is_first else 0,
            queue_s=(state.first_step_s or 0.0) - live.request.arrival_s if is_first else 0.0,
        )


def _end(state: RequestState, live: Live, token: int) -> tuple[str, str]:
    """Return why a request ends with this token, if it does."""
    plan = live.plan
    if plan is not None and plan.ended:
        return plan.ended, plan.why
    if token in live.stop_ids and state.output_tokens > live.submit.sampling.min_tokens:
        return "stop", ""
    return ("length", "") if state.known_tokens >= live.end_tokens else ("", "")
