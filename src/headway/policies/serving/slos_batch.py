"""One step of SLOs-Serve: what is due, then prompts by deadline, then whoever has no place.

Source: "SLOs-Serve: Optimized Serving of Multi-SLO LLMs", arXiv 2504.08784: batch formation and the best-effort tier.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.recompute import decode_all, repeated
from headway.policies.serving.slos_budget import Budget
from headway.policies.serving.slos_planner import Planner
from headway.policies.serving.state import InstanceState, RequestState

LEAST_CHUNK = 16
"""Shorter chunks are not worth their trouble, unless they end a prompt."""


class Forming:
    """A step as it comes to be.

    Parameters
    ----------
    instance : InstanceState
        An idle instance.
    draft : InstanceDraft
        What the decision has come to.
    planner : Planner
        Knows who has a place.
    budget : Budget
        What steps have room for.
    now_s : float
        The present.
    """

    def __init__(
        self, instance: InstanceState, draft: InstanceDraft, planner: Planner, budget: Budget, now_s: Seconds
    ) -> None:
        self._instance, self._draft, self._planner, self._budget = instance, draft, planner, budget
        self._now_s = now_s
        self._pieces: dict[Id, Piece] = {}
        self._drafts: dict[Id, int] = {}
        self._tokens = self._context = self._passes = 0
        self._chunks_s: Seconds = 0.0
        self._until_s: Seconds = 0.0

    def step(self, period_s: Seconds, drafts: Mapping[Seconds, int]) -> Step | None:
        """Return the step: it ends before the first token is late that could be in time, and within a period."""
        decodes = list(self._instance.decodes)
        kept = sorted((s for s in decodes if self._planner.is_kept(s)), key=self._due_s)
        self._until_s = period_s
        if kept:
            floor_s = self._budget.time_s(len(kept), sum(state.computed_tokens for state in kept))
            self._until_s = min(period_s, max(self._due_s(kept[0]) - self._now_s, floor_s))
        early: list[RequestState] = []
        for state in kept:
            if self._due_s(state) <= self._now_s + 2 * self._until_s:  # it cannot wait for the step after this one
                self._decode(state, drafts.get(self._planner.line(state).tpot_s, 0))
            else:
                early.append(state)
        self._prompts(has_place=True)
        for state in (*early, *(s for s in decodes if not self._planner.is_kept(s))):
            drafted = drafts.get(self._planner.line(state).tpot_s, 0)
            if self._rest_s(1 + drafted, state.computed_tokens) > 0:
                self._decode(state, drafted)
        self._prompts(has_place=False)
        return self._whole() or self._least(decodes)

    # Decodes ---------------------------------------------------------------------------------------------------------

    def _due_s(self, state: RequestState) -> Seconds:
        return self._planner.line(state).due_s(state)

    def _decode(self, state: RequestState, drafted: int = 0) -> None:
        if state.id in self._draft.preempted:
            return
        drafted = min(drafted, state.reach_tokens - state.known_tokens - 1)
        if drafted > 0 and not self._draft.extend(state, 1 + drafted):
            drafted = 0
        if drafted <= 0 and not self._room(state, 1):
            return
        self._pieces[state.id] = state.one
        self._tokens += 1 + max(0, drafted)
        self._context += state.computed_tokens
        if drafted > 0:
            self._drafts[state.id] = drafted
            self._passes = max(self._passes, drafted)

    def _room(self, state: RequestState, tokens: int) -> bool:
        """Draft memory for more tokens of a running request; who has no place gives way first, the latest before."""
        while not self._draft.extend(state, tokens):
            running = [s for s in self._instance.running.values() if s.id not in self._draft.preempted]
            victim = self._planner.victim(running)
            if victim is state or (self._planner.is_kept(victim) and not self._planner.is_kept(state)):
                self._give_up(state)
                return False
            self._give_up(victim)
        return True

    def _give_up(self, state: RequestState) -> None:
        self._draft.preempt(state)
        self._pieces.pop(state.id, None)
        self._drafts.pop(state.id, None)

    # Prompts ---------------------------------------------------------------------------------------------------------

    def _rest_s(self, tokens: int = 0, context: int = 0) -> Seconds:
        """Return how much time is left when so many tokens more join the decodes."""
        context += self._context
        return self._until_s - self._budget.time_s(self._tokens + tokens, context, self._passes) - self._chunks_s

    def _prompts(self, has_place: bool) -> None:
        """Fill the step with prompts under way and prompts that wait, by deadline, or else by arrival."""
        planner, draft = self._planner, self._draft
        found = [s for s in self._candidates() if planner.is_kept(s) == has_place and s.id not in draft.preempted]
        if has_place:
            found.sort(key=self._due_s)
        for state in found:
            tokens = self._budget.chunk_tokens(self._rest_s(), self._tokens, state.computed_tokens)
            if tokens < LEAST_CHUNK and tokens < state.left_tokens:
                return
            if not self._chunk(state, tokens, has_place):
                return

    def _candidates(self) -> Iterable[RequestState]:
        yield from self._instance.prefills.values()
        for state in self._draft.waiting:
            if state.id not in self._draft.preempted:
                yield state

    def _chunk(self, state: RequestState, tokens: int, has_place: bool) -> bool:
        """Put a chunk into the step; says whether others may follow."""
        if state.id in self._instance.running:
            tokens = min(tokens, state.left_tokens)
            if not self._room(state, tokens):
                return has_place
            context = state.computed_tokens
        else:
            left = self._start(state, has_place)
            if left is None:
                return False
            tokens, context = min(tokens, left), state.known_tokens - left
        self._pieces[state.id] = Piece(state.id, tokens)
        self._chunks_s += self._budget.attention_s(tokens, context)
        self._tokens += tokens
        if has_place and context + tokens == state.known_tokens:  # its first token comes with the end of the step
            self._until_s = min(self._until_s, max(self._due_s(state) - self._now_s, 0.0))
        return True

    def _start(self, state: RequestState, has_place: bool) -> int | None:
        """Draft the start of a request that waits; for one with a place, others without one give way."""
        draft, instance = self._draft, self._instance
        left = draft.start(state, state.known_tokens)
        while left is None and has_place and draft.num_running:
            without = [
                s for s in instance.running.values() if s.id not in draft.preempted and not self._planner.is_kept(s)
            ]
            if not without:
                return None
            self._give_up(without[-1])
            left = draft.start(state, state.known_tokens)
        return left

    # The end ---------------------------------------------------------------------------------------------------------

    def _whole(self) -> Step | None:
        """Return the step with its decodes in front, in the order in which the instance has them."""
        decodes = self._instance.decodes
        chosen = [name for name in decodes.members if name in self._pieces]
        chunks = [piece for name, piece in self._pieces.items() if name not in decodes.members]
        fronts = decodes.pieces if len(chosen) == len(decodes) else tuple(self._pieces[name] for name in chosen)
        if not fronts and not chunks:
            return None
        return Step(instance=self._instance.id, pieces=(*fronts, *chunks), speculate=dict(self._drafts))

    def _least(self, decodes: list[RequestState]) -> Step | None:
        """Return a step for when nothing fits into a period: the engine is too slow for what was promised."""
        for state in decodes:
            self._decode(state)
        self._until_s = math.inf
        if not self._pieces:
            for state in self._candidates():
                self._chunk(state, max(LEAST_CHUNK, state.left_tokens), has_place=False)
                if self._pieces:
                    break
        return self._whole()


def plain(instance: InstanceState, draft: InstanceDraft, planner: Planner, budget: Budget) -> Step | None:
    """Return a step of all decodes that goes on until there is news, if that is all there is and no line suffers."""
    decodes = instance.decodes
    if instance.prefills or instance.waiting or not len(decodes):
        return None
    least_s = min((planner.line(state).tpot_s for state in decodes if planner.is_kept(state)), default=math.inf)
    if budget.time_s(len(decodes), decodes.context_tokens) > least_s:
        return None
    return repeated(instance, draft, decode_all(instance, draft))
