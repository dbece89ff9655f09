"""Orca: iteration-level batching of whole prompts and decodes, with memory reserved up front."""

from __future__ import annotations

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import UNTIL_NEWS, Piece, Step
from headway.policies.serving.state import InstanceState


class Orca:
    """Lets requests join and leave the batch between any two iterations, first come first served.

    A request starts when memory for its prompt and all the output it may ask for can be reserved, so it is never
    preempted. Its whole prompt runs in one iteration, beside the decodes of the others.

    Parameters
    ----------
    max_batch_size : int
        The most requests that run at once, >= 1; 32, the largest common setting of the paper's evaluation.

    Raises
    ------
    ConfigError
        When `max_batch_size` is not positive.

    Notes
    -----
    Source: Yu et al., "Orca: A Distributed Serving System for Transformer-Based Generative Models", OSDI 2022,
    section 4 and algorithm 1. Written from memory of the paper and from how Agrawal et al. (arXiv 2403.02310)
    describe it as a baseline.

    Faithful to the paper: iteration-level scheduling, first come first served, one reservation of prompt plus output
    per request, a limit on the batch, prompts and decodes in one iteration (selective batching is the executor's, as is
    a pipeline with one batch per stage). Changed: reservations are rounded up to blocks, and a prefix found in the
    executor's cache is not computed again.

    Cost: O(prompts + admitted) per step.

    Examples
    --------
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.nouns import Request
    >>> from headway.policies.serving.state import RequestState
    >>> instance = InstanceState("gpu", BlockPool(num_blocks=64), num_layers=2)
    >>> for name in "abc":
    ...     request = Request(id=name, arrival_s=0.0, prompt_tokens=400, max_tokens=100)
    ...     instance.waiting[name] = RequestState(request)
    >>> step = Orca().form(instance, InstanceDraft(instance), 0.0)
    >>> [(piece.request, piece.tokens) for piece in step.pieces]
    [('a', 400), ('b', 400)]
    """

    def __init__(self, *, max_batch_size: int = 32) -> None:
        if max_batch_size < 1:
            raise ConfigError(f"serving/orca: max_batch_size must be >= 1, got {max_batch_size}. Try 32, the default.")
        self.max_batch_size = max_batch_size

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return one iteration of everything that runs and of what can be added to it."""
        decodes, prompts = instance.decodes, list[Piece]()
        # Memory was reserved at admission; only a request that another policy admitted may lack some.
        roomy = draft.extend_decodes(len(decodes.short))
        pieces = decodes.pieces if roomy else tuple(s.one for s in decodes if s.id not in decodes.short)
        for state in instance.prefills.values():
            if draft.extend(state, state.left_tokens):
                prompts.append(Piece(state.id, state.left_tokens))
        for state in draft.waiting:
            if draft.num_running >= self.max_batch_size:
                break
            to_compute = draft.start(state, state.reach_tokens)
            if to_compute is None:
                break
            prompts.append(Piece(state.id, to_compute))
        if prompts:
            return Step(instance=instance.id, pieces=(*pieces, *prompts))
        return Step(instance=instance.id, pieces=pieces, repeat=UNTIL_NEWS if roomy else 1) if pieces else None
