"""Preemption by recomputation: the latest request gives its memory back and is computed again later.

Kwon et al. 2023 (arXiv 2309.06180, section 4.5) and Agrawal et al. 2024 (arXiv 2403.02310, section 4) share this rule.
"""

from __future__ import annotations

from collections.abc import Callable

from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.nouns import UNTIL_NEWS, Piece, Step
from headway.policies.serving.state import InstanceState, RequestState


def decode_all(
    instance: InstanceState, draft: InstanceDraft, preempt: Callable[[RequestState], None] | None = None
) -> tuple[Piece, ...]:
    """Draft room for the next token of every decode, preempting the latest requests while memory is short.

    Parameters
    ----------
    instance : InstanceState
        An idle instance.
    draft : InstanceDraft
        What the decision has come to so far; preemptions go there.
    preempt : callable of (RequestState), or None
        Drafts the preemption of a request; one that is recomputed later by default.

    Returns
    -------
    tuple of Piece
        One token of every decode that is left.
    """
    preempt = preempt or draft.preempt
    decodes = instance.decodes
    if draft.extend_decodes(len(decodes.short)):
        return decodes.pieces
    # Requests start first come first, so the latest is the last in the order in which they run.
    short, running = set(decodes.short), list(instance.running.values())
    while not draft.extend_decodes(len(short)):
        victim = draft.victim(running)
        running.remove(victim)
        short.discard(victim.id)
        preempt(victim)
    return tuple([state.one for state in decodes if state.id not in draft.preempted])


def repeated(instance: InstanceState, draft: InstanceDraft, decodes: tuple[Piece, ...]) -> Step | None:
    """Return a step of all decodes that goes on until there is news; None when there are no decodes.

    Nothing but a new request, or the end of one, could make the next step another: while decodes grow, the free memory
    only shrinks, and who has not been admitted now will not be then. (If the output of a running request turns out
    to be a prefix of its prompt, it waits for the next news.) After a preemption the memory may have grown.
    """
    if not decodes:
        return None
    changes = draft.preempted or (draft.queue is not None and instance.waiting)  # whose turn it is may change with time
    return Step(instance=instance.id, pieces=decodes, repeat=1 if changes else UNTIL_NEWS)


def spare_blocks(draft: InstanceDraft, instance: InstanceState, watermark_frac: float) -> int:
    """Return how many blocks an admission must leave free: the watermark, or none while nothing runs.

    Without the exception, a prompt almost as large as the memory would wait for ever.
    """
    return int(watermark_frac * instance.kv.num_blocks) if draft.num_running else 0
