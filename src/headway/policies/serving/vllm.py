"""vLLM's first scheduler: paged memory, prompts before decodes, preemption by recomputation."""

from __future__ import annotations

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.recompute import decode_all, repeated, spare_blocks
from headway.policies.serving.state import InstanceState


class Vllm:
    """Runs whole prompts as soon as they fit into memory, and decodes only when no prompt can start.

    Memory is taken block by block as requests grow; when it runs out, the latest request is preempted and computed
    again.

    Parameters
    ----------
    max_batched_tokens : int
        The most prompt tokens of one step, >= 1; 2048. A longer prompt runs alone.
    max_seqs : int
        The most requests that run at once, >= 1; 256.
    watermark_frac : float
        Share of the memory that an admission leaves free, in [0, 1); 0.01. All three defaults are those of the first
        releases.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention", SOSP 2023,
    arXiv 2309.06180, section 4.5; the loop that puts prompts first as Agrawal et al. (arXiv 2403.02310, section 3)
    describe it.

    Faithful to the paper: first come first served, a step of either prompts or decodes, all blocks of a prompt at
    admission and one block at a time afterwards, the latest request preempted first and put in front of the queue.
    Left out: preemption by swapping, groups of sequences (parallel sampling, beam search), tensor parallelism.
    Changed: the watermark is waived while nothing runs; a prompt above `max_batched_tokens` runs alone instead of
    being refused; a prefix found in the cache is not computed again, and one that vanished between decision and start
    is computed beside decodes.

    Cost: O(admitted) per step; O(running) where memory is short or decodes come and go.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> from headway.policies.serving.state import RequestState
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> for name in "ab":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=400, max_tokens=8)
    ...     instance.waiting[name] = RequestState(request)
    >>> step = Vllm(max_batched_tokens=512).form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('a', 400)]
    """

    def __init__(self, *, max_batched_tokens: int = 2048, max_seqs: int = 256, watermark_frac: float = 0.01) -> None:
        if max_batched_tokens < 1:
            raise ConfigError(
                f"serving/vllm: max_batched_tokens must be >= 1, got {max_batched_tokens}. Try 2048, the default."
            )
        if max_seqs < 1:
            raise ConfigError(f"serving/vllm: max_seqs must be >= 1, got {max_seqs}. Try 256, the default.")
        if not 0 <= watermark_frac < 1:
            raise ConfigError(
                f"serving/vllm: watermark_frac must be in [0, 1), got {watermark_frac}. Try 0.01, the default."
            )
        self.max_batched_tokens = max_batched_tokens
        self.max_seqs = max_seqs
        self.watermark_frac = watermark_frac

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return prompts from the queue if any can start, else the decodes of all that run."""
        prompts = self._prompts(instance, draft) if instance.waiting else []
        if prompts:
            return Step(instance=instance.id, pieces=tuple(prompts))
        decodes = decode_all(instance, draft)
        late = self._late(instance, draft) if instance.prefills else []
        if late:
            return Step(instance=instance.id, pieces=(*decodes, *late))
        return repeated(instance, draft, decodes)

    def _prompts(self, instance: InstanceState, draft: InstanceDraft) -> list[Piece]:
        pieces: list[Piece] = []
        budget = self.max_batched_tokens
        for state in draft.waiting:
            if draft.num_running >= self.max_seqs:
                break
            left = state.known_tokens - draft.cost(state, state.known_tokens)[1]
            if pieces and left > budget:
                break
            if draft.start(state, state.known_tokens, spare_blocks(draft, instance, self.watermark_frac)) is None:
                break
            pieces.append(Piece(state.id, left))
            budget -= left
        return pieces

    def _late(self, instance: InstanceState, draft: InstanceDraft) -> list[Piece]:
        """List what is left of prompts that were started with a prefix which then vanished."""
        return [
            Piece(state.id, state.left_tokens)
            for state in instance.prefills.values()
            if state.id not in draft.preempted and draft.extend(state, state.left_tokens)
        ]
