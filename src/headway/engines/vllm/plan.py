"""What vLLM is to do in one step, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping

from headway.core.nouns import Id, Seconds
from headway.policies.serving.nouns import Step
from headway.policies.serving.state import RequestState


class Run:
    """A step that was handed to vLLM, once or several times.

    vLLM asks for the next step while this one is still computed. So a run is *advanced* (its tokens are taken as
    given) when the next is asked for or its end is heard, whichever comes first, and *heard* of when vLLM has its
    outcome.

    Attributes
    ----------
    step : Step
        What the policy asked for.
    tokens : dict of str to int
        How many tokens of whom.
    num_tokens : int
        In total.
    num_runs, num_advanced, num_heard : int
        How often it was handed over, taken as run, and heard of.
    took_s : float
        How long the runs heard of took, in seconds.
    firsts : list of RequestState
        Those whose first token comes with the run that was advanced last.
    """

    __slots__ = (
        "firsts", "num_advanced", "num_computed", "num_heard", "num_runs", "num_tokens", "step", "took_s", "tokens",
    )  # fmt: skip

    def __init__(self, step: Step) -> None:
        self.step = step
        self.tokens = {piece.request: piece.tokens for piece in step.pieces}
        self.num_tokens = sum(self.tokens.values())
        self.num_runs = self.num_advanced = self.num_heard = 0
        self.num_computed = 0
        self.took_s: Seconds = 0.0
        self.firsts: list[RequestState] = []

    @property
    def is_heard(self) -> bool:
        """Whether the outcome of all that was handed over is known."""
        return self.num_heard == self.num_runs

    def cut(self, request: Id, tokens: int) -> None:
        """Note that no more than `tokens` tokens of a request are computed."""
        self.num_tokens -= self.tokens[request] - tokens
        self.tokens[request] = tokens
        if not tokens:
            del self.tokens[request]


NO_TOKENS: Mapping[Id, int] = {}


class Plan:
    """What vLLM is to do now.

    Attributes
    ----------
    preempts : list of str
        Running requests that lose their memory and wait again.
    turned : list of (str, str, float or None)
        Requests that are turned away, why, and in how many seconds each may come again.
    starts : list of str
        Waiting requests of the step, in the order in which they are to be started.
    run : Run or None
        The step; None for nothing to compute.
    """

    __slots__ = ("preempts", "run", "starts", "turned")

    def __init__(self) -> None:
        self.preempts: list[Id] = []
        self.turned: list[tuple[Id, str, Seconds | None]] = []
        self.starts: list[Id] = []
        self.run: Run | None = None

    @property
    def tokens(self) -> Mapping[Id, int]:
        """How many tokens of whom."""
        return self.run.tokens if self.run is not None else NO_TOKENS
