"""What a machine computes next: whole prompts first, then a token of each request that is due one.

Patel et al. 2024 (arXiv 2311.18677) describe the scheduler of a machine; the order is that of their simulator.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain

from headway.core.nouns import Id
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.recompute import decode_all, repeated, spare_blocks
from headway.policies.serving.state import InstanceState, RequestState


@dataclass
class WholePrompts:
    """Forms steps of whole prompts and single tokens.

    Parameters
    ----------
    max_batched_tokens : int
        Tokens of one step, >= 1; a longer prompt runs alone.
    max_seqs : int
        Requests of one step, >= 1.
    max_passed_over : int
        A request that was left out so often comes before prompts, >= 1.
    watermark_frac : float
        Share of the memory that the start of a prompt leaves free, in [0, 1).
    """

    max_batched_tokens: int
    max_seqs: int
    max_passed_over: int
    watermark_frac: float
    passed_over: dict[Id, int] = field(default_factory=dict)

    def form(self, instance: InstanceState, draft: InstanceDraft, leaving: Collection[Id]) -> Step | None:
        """Return the next step, without those whose output is computed elsewhere."""
        tokens = self._due(instance, draft, leaving)
        first = [state for state in tokens if self.passed_over.get(state.id, 0) >= self.max_passed_over]
        prompts = self._prompts(instance, draft, len(first))
        if not prompts and tokens and self._is_all(tokens, instance):
            return repeated(instance, draft, instance.decodes.pieces)
        room = min(self.max_batched_tokens - sum(p.tokens for p in prompts), self.max_seqs - len(prompts))
        chosen = self._choose(tokens, room)
        pieces = (*(state.one for state in chosen), *prompts)
        return Step(instance=instance.id, pieces=pieces) if pieces else None

    def _is_all(self, tokens: list[RequestState], instance: InstanceState) -> bool:
        """Say whether these are the decodes of an instance and nobody else."""
        decodes, most = instance.decodes, min(self.max_seqs, self.max_batched_tokens)
        return len(tokens) == len(decodes) <= most and tokens[-1].id in decodes.members

    def forget(self, request: Id) -> None:
        """Note that a request has ended."""
        self.passed_over.pop(request, None)

    def _due(self, instance: InstanceState, draft: InstanceDraft, leaving: Collection[Id]) -> list[RequestState]:
        """List those that are due a token and have memory for it, in the order in which they came to be."""
        if any(state.id not in leaving for state in instance.decodes):
            decode_all(instance, draft)
        landed = (s for s in instance.prefills.values() if s.left_tokens == 1 and draft.extend(s, 1))
        due = chain(instance.decodes, landed)
        return [state for state in due if state.id not in leaving and state.id not in draft.preempted]

    def _prompts(self, instance: InstanceState, draft: InstanceDraft, num_first: int) -> list[Piece]:
        """List prompts under way, then those that wait, as many as one step takes."""
        pieces: list[Piece] = []
        budget = self.max_batched_tokens - num_first
        for state in instance.prefills.values():
            left = state.left_tokens
            fits = left > 1 and state.id not in draft.preempted and (not pieces or left <= budget)
            if fits and draft.extend(state, left):
                pieces.append(Piece(state.id, left))
                budget -= left
        for state in () if draft.preempted else draft.waiting:
            left = state.known_tokens - draft.cost(state, state.known_tokens)[1]
            if (pieces and left > budget) or len(pieces) >= self.max_seqs - num_first:
                break
            if draft.start(state, state.known_tokens, spare_blocks(draft, instance, self.watermark_frac)) is None:
                break
            pieces.append(Piece(state.id, left))
            budget -= left
        return pieces

    def _choose(self, tokens: list[RequestState], room: int) -> list[RequestState]:
        """Return who gets a token beside the prompts: those passed over before come first."""
        if len(tokens) > room:
            tokens = sorted(tokens, key=lambda state: -self.passed_over.get(state.id, 0))
        room = max(room, sum(self.passed_over.get(s.id, 0) >= self.max_passed_over for s in tokens))
        for state in tokens[room:]:
            self.passed_over[state.id] = self.passed_over.get(state.id, 0) + 1
        return tokens[:room]
