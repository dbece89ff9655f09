"""The steps that vLLM was handed, on the books of the board: begun, taken as run, ended, and heard of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from headway.core.nouns import Id, Seconds
from headway.engines.vllm import amending
from headway.engines.vllm.plan import Run
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Step
from headway.policies.serving.state import InstanceState


class UnderWay:
    """Keeps the steps of one instance.

    Parameters
    ----------
    board : ServingBoard
        The books.
    instance : InstanceState
        Whose steps they are.

    Attributes
    ----------
    run : Run or None
        The step that is under way as far as the board knows.
    changed : bool
        Whether something has happened since it began that its policy would want to know.
    """

    def __init__(self, board: ServingBoard, instance: InstanceState) -> None:
        self.run: Run | None = None
        self.changed = False
        self._board = board
        self._instance = instance
        self._over: deque[Run] = deque()  # ended on the board, but not all of it is heard of

    @property
    def is_nothing(self) -> bool:
        """Whether no step is under way, and nothing is still to be heard of any."""
        return self.run is None and not self._over

    def begin(self, step: Step) -> Run:
        """Note a step that the board has accepted."""
        self.run, self.changed = Run(step), False
        return self.run

    def goes_on(self, now_s: Seconds) -> bool:
        """Let the step under way be run once more, if its policy asked for that; says whether it is."""
        run = self.run
        if run is None or run.num_runs >= run.step.repeat or self.changed:
            return False
        self._catch_up(run, now_s)
        return self._board.again(run.step)

    def conclude(self, run: Run, now_s: Seconds) -> None:
        """End the step under way on the board."""
        self._catch_up(run, now_s)
        self._board.end(run.step)
        self.run = None
        self._over.append(run)

    def heard(self) -> Iterator[Run]:
        """Take off those that are over and wholly heard of, in their order."""
        while self._over and self._over[0].is_heard:
            yield self._over.popleft()

    def hear(self, run: Run, step_s: Seconds, now_s: Seconds) -> None:
        """Note that the outcome of a run is there."""
        if run.num_advanced == run.num_heard:  # nobody has asked for the next step
            self._board.now_s = now_s
            self._advance(run, now_s)
        elif run.num_advanced == run.num_heard + 1:
            for state in run.firsts:
                state.first_token_s = now_s  # not when the next step was asked for
        run.num_heard += 1
        run.took_s += step_s
        run.num_computed += run.num_tokens

    def cut(self, run: Run, request: Id, tokens: int) -> None:
        """Note that no more than `tokens` tokens of a request are computed, or nothing of it."""
        run.cut(request, tokens)
        state = self._board.requests.get(request)
        if state is not None and self.run is run:
            amending.shorten(self._instance, self._board.find(run.step), state, tokens)

    def give_up(self, run: Run) -> None:
        """Note that a step was not run at all."""
        self._board.end(run.step)
        self.run = None

    def _catch_up(self, run: Run, now_s: Seconds) -> None:
        if run.num_advanced < run.num_runs:
            self._advance(run, now_s)

    def _advance(self, run: Run, now_s: Seconds) -> None:
        """Take a run as run: its requests have come so much farther."""
        given = self._board.advance(run.step, now_s)
        run.num_advanced += 1
        run.firsts = [state for state in given if state.output_tokens == 1] if run.num_advanced == 1 else []
