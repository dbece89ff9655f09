"""Sarathi-Serve: chunked prefills beside all decodes, under one token budget."""

from __future__ import annotations

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.recompute import decode_all, repeated, spare_blocks
from headway.policies.serving.state import InstanceState


class SarathiServe:
    """Gives every decode its token, then fills the rest of a token budget with chunks of prompts.

    Decodes are never paused for a prompt (stall-free), and a step's length hardly depends on how long prompts are.

    Parameters
    ----------
    token_budget : int
        Tokens of one step, decodes and prefill chunks together, >= 1; 512, the paper's choice for strict objectives
        (2048 for relaxed ones).
    max_seqs : int
        The most requests that run at once, >= 1; 128, the paper's.
    watermark_frac : float
        Share of the memory that an admission leaves free, in [0, 1); 0.01, the paper's.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", OSDI 2024, arXiv
    2403.02310, section 4 and algorithm 3.

    Faithful to the paper: the three passes, their order, the watermark, all blocks of a prompt at admission, and
    preempted requests in front of the queue; with pipeline stages, at most as many batches as stages are in flight and
    a request is in at most one (the executor sees to both). Left out: rounding of chunks to tiles, and the
    repository's schedule of shrinking chunks. Changed: the watermark is waived while nothing runs; a prefix found in
    the cache is not computed again; a recomputed request counts as decoding from its last token on.

    Reproduced: in virtual time, its capacity within a bound on token gaps, its ablation and the overhead of chunks
    agree with the paper in direction, and in size within a factor of two (the overhead of chunks only just);
    `headway reproduce serving/sarathi` shows them.

    Cost: O(prompts under way + admitted) per step; O(running) where memory is short or decodes come and go.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> from headway.policies.serving.state import RequestState
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> for name in "ab":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=400, max_tokens=8)
    ...     instance.waiting[name] = RequestState(request)
    >>> step = SarathiServe(token_budget=512).form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('a', 400), ('b', 112)]
    """

    def __init__(self, *, token_budget: int = 512, max_seqs: int = 128, watermark_frac: float = 0.01) -> None:
        if token_budget < 1:
            raise ConfigError(
                f"serving/sarathi: token_budget must be >= 1, got {token_budget}. Try 512, the paper's default."
            )
        if max_seqs < 1:
            raise ConfigError(f"serving/sarathi: max_seqs must be >= 1, got {max_seqs}. Try 128, the paper's default.")
        if not 0 <= watermark_frac < 1:
            raise ConfigError(
                f"serving/sarathi: watermark_frac must be in [0, 1), got {watermark_frac}. Try 0.01, the default."
            )
        self.token_budget = token_budget
        self.max_seqs = max_seqs
        self.watermark_frac = watermark_frac

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return decodes, then chunks of prompts under way, then chunks of prompts from the queue."""
        decodes = decode_all(instance, draft)
        chunks: list[Piece] = []
        budget = self.token_budget - len(decodes)
        if instance.prefills:
            budget -= self._go_on(chunks, instance, draft, budget)
        if instance.waiting and not draft.preempted:  # who was preempted is now first in line, and has just not fitted
            self._admit(chunks, instance, draft, budget)
        if chunks:
            return Step(instance=instance.id, pieces=(*decodes, *chunks))
        return repeated(instance, draft, decodes)

    def _go_on(self, chunks: list[Piece], instance: InstanceState, draft: InstanceDraft, budget: int) -> int:
        spent = 0
        for state in instance.prefills.values():
            tokens = min(state.left_tokens, budget - spent)
            if tokens <= 0:
                break
            # Its blocks are held since admission, unless another policy admitted it.
            if state.id not in draft.preempted and draft.extend(state, tokens):
                chunks.append(Piece(state.id, tokens))
                spent += tokens
        return spent

    def _admit(self, chunks: list[Piece], instance: InstanceState, draft: InstanceDraft, budget: int) -> None:
        for state in draft.waiting:
            if budget <= 0 or draft.num_running >= self.max_seqs:
                return
            left = draft.start(state, state.known_tokens, spare_blocks(draft, instance, self.watermark_frac))
            if left is None:
                return
            tokens = min(left, budget)
            chunks.append(Piece(state.id, tokens))
            budget -= tokens
