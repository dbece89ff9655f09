"""Preemption by recomputation: the latest request gives its memory back and is computed again later.

Kwon et al. 2023 (arXiv 2309.06180, section 4.5) and Agrawal et al. 2024 (arXiv 2403.02310, section 4) share this rule.
"""

from __future__ import annotations

from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.state import InstanceState, RequestState


def make_room(draft: InstanceDraft, state: RequestState, running: list[RequestState]) -> bool:
    """Draft room for the next token of `state`, preempting from the end of `running` while memory is short.

    Parameters
    ----------
    draft : InstanceDraft
        What the decision has come to so far.
    state : RequestState
        A running request, in `running`.
    running : list of RequestState
        Who runs, earliest first. Victims are taken off its end, `state` itself when nobody after it is left.

    Returns
    -------
    bool
        Whether `state` still runs.
    """
    while not draft.extend(state, 1):
        victim = running.pop()
        draft.preempt(victim)
        if victim is state:
            return False
    return True


def spare_blocks(draft: InstanceDraft, instance: InstanceState, watermark_frac: float) -> int:
    """Return how many blocks an admission must leave free: the watermark, or none while nothing runs.

    Without the exception, a prompt almost as large as the memory would wait for ever.
    """
    return int(watermark_frac * instance.kv.num_blocks) if draft.num_running else 0
