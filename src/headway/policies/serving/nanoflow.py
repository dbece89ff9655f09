"""NanoFlow: steps of a fixed number of tokens, as many requests as memory will suffice for to their ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.lengths import MostTokens
from headway.policies.serving.memory import num_swapped_blocks
from headway.policies.serving.nouns import Piece, RequestFinished, Step
from headway.policies.serving.recompute import decode_all, repeated
from headway.policies.serving.seats import Neighbours, Predict, ServingView
from headway.policies.serving.state import InstanceState, RequestState

LEARNT = 32
"""So many requests must have ended before their mean output counts."""


class NanoFlow:
    """Fills every step up to the same number of tokens, decodes first, so that products keep the device busy.

    What makes such steps quick, operations of nano-batches side by side, is the executor's: `overlap` of a fleet in
    virtual time, by the plan of `headway.policies.serving.nanoflow_search`. A request is admitted when memory will
    suffice for all that run to their ends, with outputs of average length; where that was too little, one is moved to
    the host's memory and comes back later.

    Parameters
    ----------
    dense_tokens : int
        Tokens of one step, >= 1; 2048, the paper's for LLaMA-2-70B on eight A100.
    max_seqs : int
        The most requests that run at once, >= 1; 4096, more than memory holds.
    output_tokens : float
        Average output of a request, > 0; 0, the default, takes what the stack's predictor says, or without one the mean
        of all requests that have ended.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Zhu et al., "NanoFlow: Towards Optimal Large Language Model Serving Throughput", 2024, arXiv 2408.12757,
    sections 4 and 5.

    Faithful to the paper: a dense batch of fixed size, all decodes first and then chunks of prompts; admission by the
    memory that all running requests come to in the end; no recomputation but offload to the host (where the executor
    has room there; else the latest request is recomputed); nano-batches and the two-stage search for their plan.
    Changed: the plan's nano-batches have their share of both decodes and prompts, and are cut alike for all operations
    of a layer; their sizes are chosen from a few. Left out: forming a step while the one before it runs, by which a
    request that has ended runs one step too many; keys and values of conversations kept on the host and on disks.

    Reproduced: in virtual time, what products, attention and network take, that nano-batches alone are slower and
    together with overlap quicker agrees with the paper; `headway reproduce serving/nanoflow` shows it. How far
    operations slow each other is published in part alone.

    Cost: O(prompts under way + admitted) per step, O(running) where somebody waits.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> instance = InstanceState("gpu", BlockPool(64), num_layers=2)
    >>> for name in "abc":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=300, max_tokens=100)
    ...     instance.waiting[name] = RequestState(request)
    >>> step = NanoFlow(dense_tokens=512).form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('a', 300), ('b', 212)]
    """

    def __init__(self, *, dense_tokens: int = 2048, max_seqs: int = 4096, output_tokens: float = 0.0) -> None:
        for name, value in (("dense_tokens", dense_tokens), ("max_seqs", max_seqs)):
            if value < 1:
                raise ConfigError(f"serving/nanoflow: {name} must be >= 1, got {value}. Try the default.")
        if not 0 <= output_tokens < float("inf"):
            raise ConfigError(f"serving/nanoflow: output_tokens must be >= 0, got {output_tokens}. Try 0, the default.")
        self.dense_tokens = dense_tokens
        self.max_seqs = max_seqs
        self.output_tokens = output_tokens
        self._predict: Predict = MostTokens()
        self._num_ended = 0
        self._num_given = 0
        self._peaks: dict[Id, dict[Id, float]] = {}  # tokens each running request comes to in the end, by instance

    def join(self, stack: Neighbours) -> None:
        """Ask the stack's predictor from now on."""
        self._predict = stack.predict

    def reset(self, rng: np.random.Generator) -> None:
        """Forget how long outputs were."""
        self._num_ended = self._num_given = 0
        self._peaks = {}

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Learn how long outputs are."""
        if isinstance(event, RequestFinished):
            self._num_ended += 1
            self._num_given += event.output_tokens
        return ()

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return decodes, then chunks of prompts under way, then chunks of prompts that memory will suffice for."""
        decodes = decode_all(instance, draft, _offload(instance, draft))
        chunks: list[Piece] = []
        budget = self.dense_tokens - len(decodes)
        for state in instance.prefills.values():
            tokens = min(state.left_tokens, budget)
            if tokens > 0 and state.id not in draft.preempted and draft.extend(state, tokens):
                chunks.append(Piece(state.id, tokens))
                budget -= tokens
        if instance.waiting and not draft.preempted:
            self._admit(chunks, instance, draft, budget)
        if chunks:
            return Step(instance=instance.id, pieces=(*decodes, *chunks))
        return repeated(instance, draft, decodes)

    def _admit(self, chunks: list[Piece], instance: InstanceState, draft: InstanceDraft, budget: int) -> None:
        """Start who waits while there are tokens left in the step, and memory for all to their ends."""
        peaks, room = self._peak_tokens(instance), instance.kv.num_blocks * instance.kv.block_size
        total, half_a_block = sum(peaks.values()), instance.kv.block_size / 2
        for state in draft.waiting:
            if budget <= 0 or draft.num_running >= self.max_seqs:
                return
            peak = self._peak(state)
            if peaks and total + peak + half_a_block * (len(peaks) + 1) > room:
                return
            left = draft.start(state, state.known_tokens)
            if left is None:
                return
            peaks[state.id] = peak
            total += peak
            if (tokens := min(left, budget)) > 0:  # all of it may have come back from the host but its last token
                chunks.append(Piece(state.id, tokens))
                budget -= tokens

    def _peak_tokens(self, instance: InstanceState) -> dict[Id, float]:
        """Return what the running requests come to in the end; those who have outlived that are looked at anew."""
        peaks, running = self._peaks.setdefault(instance.id, {}), instance.running
        for gone in peaks.keys() - running.keys() - instance.flying.keys():
            del peaks[gone]
        for id_, state in running.items():
            if state.known_tokens >= peaks.get(id_, 0.0):
                peaks[id_] = self._peak(state)
        return peaks

    def _peak(self, state: RequestState) -> float:
        """Return how many tokens a request comes to in the end."""
        prompt, most = state.request.prompt_tokens, max(state.request.max_tokens, state.output_tokens + 1)
        return max(state.known_tokens + 1, prompt + min(most, self._average(state)))

    def _average(self, state: RequestState) -> float:
        if self.output_tokens:
            return self.output_tokens
        if isinstance(self._predict, MostTokens) and self._num_ended >= LEARNT:
            return self._num_given / self._num_ended
        return self._predict.output_tokens(state)


def _offload(instance: InstanceState, draft: InstanceDraft) -> Callable[[RequestState], None]:
    """Return what drafts that requests leave for the host's memory, or are recomputed when there is no room."""
    taken_blocks = 0

    def preempt(state: RequestState) -> None:
        nonlocal taken_blocks
        blocks = instance.kv.blocks_for(state.computed_tokens)
        if num_swapped_blocks(instance) + taken_blocks + blocks > instance.host_blocks:
            draft.preempt(state)
            return
        taken_blocks += blocks
        draft.preempt(state, "swap")

    return preempt
