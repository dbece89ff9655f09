"""One step of the engine: rows for the runner, a token for every request that is due one, and the news of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headway.core.clock import Clock
from headway.core.nouns import Id
from headway.engines.llm.loop.hashing import BlockHasher
from headway.engines.llm.loop.lineup import Lineup
from headway.engines.llm.loop.live import NO_SLOT, Live
from headway.engines.llm.loop.ports import ModelRunner
from headway.engines.llm.messages import Output, Outputs, TokenLogprob
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Step
from headway.policies.serving.state import RequestState

if TYPE_CHECKING:
    from torch import Tensor

Logprobs = Sequence[TokenLogprob | None]


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
        Everything that was taken in and has not ended.
    num_tokens : int
        Tokens computed in the latest run of a step.
    """

    def __init__(
        self, runner: ModelRunner, board: ServingBoard, clock: Clock, num_layers: int, hasher: BlockHasher | None = None
    ) -> None:
        self.lives: dict[Id, Live] = {}
        self.num_tokens = 0
        self._runner = runner
        self._board = board
        self._clock = clock
        self._num_layers = num_layers
        self._hasher = hasher
        self._lineup: Lineup | None = None  # of the last step, while the next may be laid out like it

    def begin(self, live: Live) -> None:
        """Give a request that has been started its slot."""
        assert live.state is not None
        live.slot = self._runner.open(live.tokens, live.request.adapter)
        self._runner.set_blocks(live.slot, live.state.blocks)
        self._lineup = None

    def leave(self, live: Live) -> None:
        """Take the slot of a request that runs no longer."""
        if live.slot != NO_SLOT:
            self._runner.close(live.slot)
            live.slot = NO_SLOT
            self._lineup = None

    def run(self, step: Step) -> Outputs | None:
        """Run a step once; returns the news if there are any. Requests with a `finish` in it have to end now."""
        lineup = self._line_up(step)
        self._set_blocks()
        return self.conclude(step, lineup, self._runner.run(lineup.rows))

    def prepare(self, step: Step, before: Lineup | None = None) -> Lineup:
        """Line up a step that is computed beside others; `before` is its lineup when it is run again."""
        if before is None or not before.again(step):
            before = Lineup(step, self.lives, self._num_layers)
        self._set_blocks()
        return before

    def compute(self, lineup: Lineup) -> Tensor | None:
        """Run the model; the one thing here that may be done in another thread."""
        return self._runner.run(lineup.rows)

    def conclude(self, step: Step, lineup: Lineup, logits: Tensor | None) -> Outputs | None:
        """Give each request its token; returns the news if there are any."""
        tokens, logprobs = self._sample(logits, lineup)
        emitted = self._board.advance(step, self._clock.now_s())
        assert len(emitted) == len(lineup.due)
        if not emitted:
            return None
        self._runner.append(lineup.slots, tokens)
        return self._news(lineup, emitted, tokens, logprobs)

    def _set_blocks(self) -> None:
        """Tell the runner of the blocks that the board has just given."""
        for state, count in self._board.grown:
            self._runner.set_blocks(self.lives[state.id].slot, state.blocks, len(state.blocks) - count)

    def _line_up(self, step: Step) -> Lineup:
        lineup = self._lineup
        if lineup is None or not lineup.again(step):
            self._lineup = lineup = Lineup(step, self.lives, self._num_layers)
        self.num_tokens = lineup.num_tokens
        return lineup

    def _sample(self, logits: Tensor | None, lineup: Lineup) -> tuple[list[int], Logprobs | None]:
        from headway.engines.llm.sampling.sample import greedy, sample

        if logits is None:
            return [], None
        if not lineup.planned:
            return greedy(logits), None
        return sample(logits, [live.recipe for live in lineup.due])

    def _news(
        self, lineup: Lineup, emitted: list[RequestState], tokens: list[int], logprobs: Logprobs | None
    ) -> Outputs:
        """Note the tokens, and tell those requests apart that have more to say than just their token."""
        for live, token in zip(lineup.due, tokens, strict=True):
            live.tokens.append(token)
        items: dict[int, Output] = {}
        for index in self._special(lineup, tokens, logprobs):
            live, state = lineup.due[index], emitted[index]
            self._watch(live, state)
            lineup.until[index] = live.watch_tokens - state.known_tokens
            item = _tell(live, state, tokens[index], logprobs[index] if logprobs is not None else None)
            if item is not None:
                items[index] = item
        if not items:
            return Outputs(items=[], ids=lineup.ids, tokens=tokens)
        rest = [index for index in range(len(tokens)) if index not in items]
        ids, tokens = [lineup.ids[index] for index in rest], [tokens[index] for index in rest]
        return Outputs(items=list(items.values()), ids=ids, tokens=tokens)

    def _special(self, lineup: Lineup, tokens: list[int], logprobs: Logprobs | None) -> list[int]:
        """List the rows at which more may be due than a token."""
        lineup.until -= 1
        found = np.flatnonzero(lineup.until <= 0).tolist()
        if not lineup.stop_ids.isdisjoint(tokens):
            found += [index for index, token in enumerate(tokens) if token in lineup.stop_ids]
        if logprobs is not None:
            found += [i for i in lineup.planned if logprobs[i] is not None or lineup.due[i].has_ended]
        return sorted(set(found))

    def _watch(self, live: Live, state: RequestState) -> None:
        """Hash the blocks that are full now, and say when to look again."""
        live.watch_tokens = live.end_tokens
        if self._hasher is not None:
            self._hasher.extend(state.hashes, live.tokens, live.request.adapter)
            live.watch_tokens = min(live.end_tokens, self._hasher.next_full(state.known_tokens))


def _tell(live: Live, state: RequestState, token: int, logprob: TokenLogprob | None) -> Output | None:
    """Return what is to be told beside the token, or None when there is nothing."""
    finish, why = _end(live, state, token)
    if not finish and logprob is None and state.output_tokens > 1:
        return None
    return Output(
        id=state.id,
        tokens=[token],
        logprobs=[] if logprob is None else [logprob],
        finish=finish,
        why=why,
        cached_tokens=state.cached_tokens if state.output_tokens == 1 else 0,
    )


def _end(live: Live, state: RequestState, token: int) -> tuple[str, str]:
    """Return why a request ends with this token, if it does."""
    recipe = live.recipe
    if recipe is not None and recipe.ended:
        return recipe.ended, recipe.why
    if token in live.stop_ids and state.output_tokens > live.submit.sampling.min_tokens:
        return "stop", ""
    return ("length", "") if state.known_tokens >= live.end_tokens else ("", "")
