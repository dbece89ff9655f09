"""Half of Sarathi-Serve: its chunks without its mixed steps, as its authors' ablation has it."""

from __future__ import annotations

import numpy as np

from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.recompute import decode_all, repeated
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.state import InstanceState


class ChunksOnly(SarathiServe):
    """Takes turns between a step of prompt chunks and a step of decodes.

    The other half, mixed steps without chunks, is `SarathiServe` with a budget as long as the longest prompt.

    Parameters
    ----------
    token_budget, max_seqs, watermark_frac
        As of `SarathiServe`; the budget holds for the steps of chunks.

    Notes
    -----
    Source: Agrawal et al. 2024, arXiv 2403.02310, ablation; turns as in the authors' released scheduler: chunks first,
    and decodes out of turn when there is nothing to chunk.
    """

    def __init__(self, *, token_budget: int = 512, max_seqs: int = 128, watermark_frac: float = 0.01) -> None:
        super().__init__(token_budget=token_budget, max_seqs=max_seqs, watermark_frac=watermark_frac)
        self._had_chunks: set[Id] = set()

    def reset(self, rng: np.random.Generator) -> None:  # noqa: ARG002 (nothing is random)
        """Let chunks have the first turn again."""
        self._had_chunks = set()

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:  # noqa: ARG002
        """Return chunks of prompts if it is their turn and there are any, else decodes."""
        chunks = [] if instance.id in self._had_chunks and len(instance.decodes) else self._chunks(instance, draft)
        if chunks:
            self._had_chunks.add(instance.id)
            return Step(instance=instance.id, pieces=tuple(chunks))
        self._had_chunks.discard(instance.id)
        decodes = decode_all(instance, draft)
        if decodes and (instance.prefills or instance.waiting):
            return Step(instance=instance.id, pieces=decodes)  # the next turn is for the prompts
        return repeated(instance, draft, decodes)

    def _chunks(self, instance: InstanceState, draft: InstanceDraft) -> list[Piece]:
        chunks: list[Piece] = []
        spent = self._go_on(chunks, instance, draft, self.token_budget)
        self._admit(chunks, instance, draft, self.token_budget - spent)
        return chunks
