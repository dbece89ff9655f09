"""One instance for prompts and one for decodes, as semi-PD's authors compare with: what they measure against."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action, Move
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import Step
from headway.policies.serving.recompute import spare_blocks
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.vllm import Vllm

PREFILL, DECODE = "prefill", "decode"
"""The names of the two pools."""


class OnePromptsOneDecodes:
    """Computes prompts on one instance, then moves requests with their memory to the other, where they decode.

    Parameters
    ----------
    max_batched_tokens, max_seqs, watermark_frac
        As of `Vllm`; a request moves when the other instance has room for it.

    Notes
    -----
    Source: the baseline "DistServe, one prefill and one decode instance" of Hong et al. 2025, arXiv 2504.19867.
    """

    def __init__(self, *, max_batched_tokens: int = 8192, max_seqs: int = 512, watermark_frac: float = 0.01) -> None:
        self._prompts = Vllm(max_batched_tokens=max_batched_tokens, max_seqs=max_seqs, watermark_frac=watermark_frac)
        # Whoever was preempted is computed again where it decodes.
        self._decodes = SarathiServe(
            token_budget=max_batched_tokens, max_seqs=max_seqs, watermark_frac=watermark_frac
        )  # fmt: skip

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def pick(self, state: RequestState, view: ServingView) -> Id:  # noqa: ARG002 (all alike)
        """Return the instance for prompts."""
        return next(one.id for one in view.instances.values() if one.pool == PREFILL)

    def form(self, instance: InstanceState, draft: InstanceDraft, now_s: Seconds) -> Step | None:
        """Return prompts on the one instance, decodes on the other."""
        if instance.pool == DECODE:
            return self._decodes.form(instance, draft, now_s)
        return self._prompts.form(instance, draft, now_s) if self._has_prompts(instance, draft) else None

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:  # noqa: ARG002 (whatever has happened)
        """Move those that have their first token, first come first served."""
        instances = {one.pool: one for one in view.instances.values()}
        source, to = instances[PREFILL], instances[DECODE]
        if source.busy or not len(source.decodes):
            return []
        free = to.kv.num_free - spare_blocks(InstanceDraft(to), to, self._prompts.watermark_frac)
        room, moves = self._prompts.max_seqs - to.num_running, list[Action]()
        for state in source.decodes:
            free -= to.kv.blocks_for(state.known_tokens)
            if free < 0 or len(moves) >= room:
                break
            moves.append(Move(state.id, to.id))
        return moves

    def _has_prompts(self, instance: InstanceState, draft: InstanceDraft) -> bool:
        if instance.prefills:
            return True
        first = next(iter(instance.waiting.values()), None)
        if first is None or draft.num_running >= self._prompts.max_seqs:
            return False
        blocks = draft.cost(first, first.known_tokens)[0]
        return draft.free_blocks - blocks >= spare_blocks(draft, instance, self._prompts.watermark_frac)


def apart() -> Stack:
    """Return it as a policy."""
    seat = OnePromptsOneDecodes()
    return Stack(batch=seat, route=seat, name="one prefill, one decode")
