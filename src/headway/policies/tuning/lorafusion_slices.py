"""Microbatches of a single adapter in the order of its data, for those that do not pack."""

from __future__ import annotations

from headway.policies.tuning.lorafusion_board import AdapterState, PipelineView
from headway.policies.tuning.lorafusion_nouns import Mix, part_of


def next_slice(state: AdapterState, samples: int, view: PipelineView) -> Mix | None:
    """Return the next examples of a job's global batch; None while its optimizer step is awaited.

    Parameters
    ----------
    state : AdapterState
        The job.
    samples : int
        The most examples, >= 0; 0 stands for as many as fit.
    view : PipelineView
        Of the pipeline that they must fit into.
    """
    left = state.left
    if not left:
        return None
    lengths = state.job.lengths[state.batch]
    num = 1
    while num < min(len(left), samples or len(left)):
        larger = Mix((part_of(state.job.id, state.batch, left[: num + 1], lengths),))
        if larger.padded_tokens(view.tile_tokens) > view.capacity_tokens:
            break
        num += 1
    return Mix((part_of(state.job.id, state.batch, left[:num], lengths),))
