"""One request while it is in the engine: what the scheduler must not know, and where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.engines.llm.messages import Submit
from headway.policies.serving.nouns import Request
from headway.policies.serving.state import RequestState

if TYPE_CHECKING:
    from headway.engines.llm.sampling.recipe import Recipe

NO_SLOT = -1


class Live:
    """A request that was taken in.

    Attributes
    ----------
    submit : Submit
        As it came.
    request : Request
        What the scheduler is told.
    state : RequestState or None
        Its record on the board, once it is there.
    tokens : list of int
        Prompt and output so far.
    slot : int
        The runner's slot while it runs, else `NO_SLOT`.
    stop_ids : frozenset of int
        Tokens that end it.
    recipe : Recipe or None
        How its tokens are sampled; None for plain greedy.
    end_tokens : int
        With so many tokens it ends for its length.
    watch_tokens : int
        With so many tokens something beside the next token is due: the first token, a full block or the end.
    ended : bool
        Whether its end was told and only waits to be booked.
    """

    __slots__ = (
        "end_tokens", "ended", "id", "recipe", "request", "slot", "state", "stop_ids", "submit", "tokens",
        "watch_tokens",
    )  # fmt: skip

    def __init__(self, submit: Submit, request: Request, recipe: Recipe | None, stop_ids: frozenset[int]) -> None:
        self.id = submit.id
        self.submit = submit
        self.request = request
        self.recipe = recipe
        self.stop_ids = stop_ids
        self.tokens = list(submit.prompt)
        self.slot = NO_SLOT
        self.end_tokens = request.prompt_tokens + request.max_tokens
        self.watch_tokens = request.prompt_tokens + 1
        self.ended = False
        self.state: RequestState | None = None

    @property
    def has_ended(self) -> bool:
        """Whether sampling has found that nothing can follow."""
        return self.recipe is not None and bool(self.recipe.ended)
