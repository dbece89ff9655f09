"""A clairvoyant: true lengths, the most requests that can still be good, steps as long as these allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.lengths import MostTokens
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.oracle_plan import Prompt, first_due_s, longest_step_s, most_tokens, timely
from headway.policies.serving.pace import Pace, Shape
from headway.policies.serving.pools import takers
from headway.policies.serving.recompute import decode_all, repeated
from headway.policies.serving.seats import Neighbours, Predict, ServingView
from headway.policies.serving.state import InstanceState, RequestState

DECODE_WEIGHT = 2.5
"""What a token after the first costs, in tokens of prompts: of the order of their prices on large accelerators."""

MOST_TOLD = 100_000
"""So many lengths are remembered before they are asked for again."""


class Oracle:
    """Serves as many requests as promised as it can, knowing how long their outputs will be.

    All decodes get a token in each step. The step is as long as those of them allow that can still end in time; what
    fits beside them are prompts, of those that can all have their first token in time the one due earliest first. Who
    cannot be in time any more starts only where few run. Nobody starts whose whole output would not fit into memory
    beside the others.

    Parameters
    ----------
    most_tokens : int
        Tokens of prompts in one step at most, >= 1; 4096, beyond which steps hardly become cheaper per token.
    max_seqs : int
        The most requests that run at once, >= 1; 1024.
    late_seqs : int
        Who is late already starts only while fewer than so many run, >= 1; 4.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: this project's anchor, "The clairvoyant", 2026: a policy to be beaten by nobody who has to guess, next to
    the bound that no policy beats (`headway.sim.serving.bound`, ``headway compare --bound``). Which prompts are left
    out is the rule of Moore, "An n job, one machine sequencing algorithm for minimizing the number of late jobs", 1968.

    Faithful to the paper: there is none. It is told true lengths, in worlds that know them; elsewhere it takes what its
    stack's predictor says. It is not told who will arrive, so it is near the best possible and not the best.

    Cost: O(waiting log waiting + decodes) per step.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> instance = InstanceState("gpu", BlockPool(64, block_size=16), num_layers=2)
    >>> for name in "abc":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=300, max_tokens=200)
    ...     instance.waiting[name] = RequestState(request)
    >>> oracle = Oracle()
    >>> oracle.foretell({"a": 200, "b": 180, "c": 10}.__getitem__)
    >>> step = oracle.form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('c', 300), ('b', 300)]
    """

    def __init__(self, *, most_tokens: int = 4096, max_seqs: int = 1024, late_seqs: int = 4) -> None:
        for name, value in (("most_tokens", most_tokens), ("max_seqs", max_seqs), ("late_seqs", late_seqs)):
            if value < 1:
                raise ConfigError(f"serving/oracle: {name} must be >= 1, got {value}. Try the default.")
        self.most_tokens = most_tokens
        self.max_seqs = max_seqs
        self.late_seqs = late_seqs
        self._ask: Callable[[Id], int] | None = None
        self._told: dict[Id, int] = {}
        self._predict: Predict = MostTokens()
        self._pace = Pace()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was told; the pace is the stack's."""
        self._told.clear()

    def join(self, stack: Neighbours) -> None:
        """Use the stack's predictor, where nobody tells true lengths, and its pace."""
        self._predict, self._pace = stack.predict, stack.pace

    @property
    def foretells(self) -> bool:
        """Always: without the truth there is no oracle."""
        return True

    def foretell(self, ask: Callable[[Id], int]) -> None:
        """Keep a function that tells true lengths."""
        self._ask = ask
        self._told.clear()

    def __getstate__(self) -> dict[str, Any]:
        """A copy does not know who tells."""
        return {**self.__dict__, "_ask": None, "_told": {}}

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the instance with the least work left, of those that can hold the request."""
        able = takers(state, view.instances.values())
        return min(able, key=self._work_at).id

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return all decodes and the prompts that fit beside them, the most urgent that can be in time first."""
        decodes = decode_all(instance, draft)
        prompts = [self._prompt(state) for state in (*instance.prefills.values(), *draft.waiting)]
        if not prompts or draft.preempted:
            return repeated(instance, draft, decodes)
        num, context = len(decodes), instance.decodes.context_tokens
        least_s = self._pace.step_s(instance, Shape(max(1, num), context))
        longest_s = longest_step_s(instance.decodes, self._tokens, least_s, now_s)
        budget = most_tokens(self._pace, instance, num, context, longest_s, self.most_tokens)
        soon, late = timely(prompts, self._rate(instance, budget, num, context), now_s)
        late = [one for one in late if one.state.id in instance.prefills or draft.num_running < self.late_seqs]
        chunks = self._fill(instance, draft, soon + late, budget)
        if chunks or decodes:
            pieces = (*decodes, *chunks) if chunks else decodes
            return Step(instance=instance.id, pieces=pieces)
        return None

    def _fill(self, instance: InstanceState, draft: InstanceDraft, prompts: list[Prompt], budget: int) -> list[Piece]:
        chunks: list[Piece] = []
        spare: int | None = None  # blocks that nobody who runs will need; counted when somebody is to start
        for state, left, _, _ in prompts:
            if budget <= 0:
                break
            tokens = min(left, budget)
            if state.id in instance.prefills:
                if not draft.extend(state, tokens):
                    continue
            else:
                if spare is None:
                    spare = draft.free_blocks - sum(self._growth(one, instance) for one in instance.running.values())
                needed = instance.kv.blocks_for(state.request.prompt_tokens + self._tokens(state))
                if draft.num_running and (needed > spare or draft.num_running >= self.max_seqs):
                    continue
                found = draft.start(state, state.known_tokens)
                if found is None:
                    continue
                tokens, spare = min(found, budget), spare - needed
            chunks.append(Piece(state.id, tokens))
            budget -= tokens
        return chunks

    def _rate(self, instance: InstanceState, budget: int, num: int, context: int) -> float:
        """Return how many tokens of prompts are computed per second in steps of such a budget."""
        tokens = max(budget, 1)
        return tokens / self._pace.step_s(instance, Shape(num, context, tokens, tokens * tokens / 2))

    def _prompt(self, state: RequestState) -> Prompt:
        total = self._tokens(state)
        gap_s = min(state.promise.tpot_s, state.promise.e2e_s / (2 * total))
        due_s = first_due_s(state, total, gap_s) if not state.output_tokens else -np.inf
        return Prompt(state, state.left_tokens, due_s, self._work(state))

    def _tokens(self, state: RequestState) -> int:
        if self._ask is None:
            return round(self._predict.output_tokens(state))
        told = self._told.get(state.id)
        if told is None:
            if len(self._told) >= MOST_TOLD:
                self._told.clear()
            told = self._told[state.id] = self._ask(state.id)
        return max(told, state.output_tokens + 1)

    def _work(self, state: RequestState) -> float:
        return state.left_tokens + DECODE_WEIGHT * (self._tokens(state) - state.output_tokens)

    def _work_at(self, instance: InstanceState) -> float:
        return sum(self._work(state) for group in (instance.waiting, instance.running) for state in group.values())

    def _growth(self, state: RequestState, instance: InstanceState) -> int:
        """Return how many blocks a running request will still need."""
        return max(0, instance.kv.blocks_for(state.request.prompt_tokens + self._tokens(state)) - len(state.blocks))
