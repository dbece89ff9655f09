"""One step as the model sees it: the ragged batch, and which layers which of its tokens pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from headway.core.errors import EngineError
from headway.engines.llm.native.batch import RaggedBatch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from headway.engines.llm.model.slots import Ints


@dataclass(slots=True)
class Group:
    """The tokens of a batch that use one LoRA adapter: int64 `[tokens]` indices into the rows of the batch."""

    adapter: int
    tokens: Tensor


@dataclass(slots=True)
class Segment:
    """A range of layers that the same tokens of a step pass.

    Parameters
    ----------
    first, last : int
        The layers ``[first, last)``.
    tokens : Tensor or None
        int64 `[active]`, which tokens of the step pass; None for all of them.
    batch : RaggedBatch
        Of the tokens that pass.
    groups : list of Group
        Which of the tokens that pass use which adapter; those of the base model are in none.
    slots : array of int64 or None
        `[sequences]`, the slots of the batch's sequences.
    """

    first: int
    last: int
    tokens: Tensor | None
    batch: RaggedBatch
    groups: list[Group]
    slots: Ints | None = None


@dataclass(slots=True)
class Visit:
    """A piece that enters or leaves the model between two layers: its slot, and its tokens ``[begin, end)``."""

    slot: int
    begin: int
    end: int


@dataclass(slots=True)
class StepBatch:
    """Everything about one step that model code needs.

    Parameters
    ----------
    input_ids, positions : Tensor
        int64 `[tokens]`.
    sampled : Tensor or None
        int64 `[sampled]`, the tokens whose logits are wanted; None when none are.
    segments : list of Segment
        In the order of the layers; one when every token passes every layer.
    ragged_layers : bool
        Whether some token does not pass some layer.
    uses_lent : bool
        Whether some sequence has lent a part of its keys and values.
    uses_adapters : bool
        Whether some token uses an adapter.
    enters, leaves : dict of int to list of Visit
        Pieces that go on from a stored hidden state before the layer, or stop before it.
    sampled_groups : list of Group
        Which of the *sampled* tokens use which adapter.
    """

    input_ids: Tensor
    positions: Tensor
    sampled: Tensor | None
    segments: list[Segment]
    ragged_layers: bool = False
    uses_adapters: bool = False
    uses_lent: bool = False
    enters: dict[int, list[Visit]] = field(default_factory=dict)
    leaves: dict[int, list[Visit]] = field(default_factory=dict)
    sampled_groups: list[Group] = field(default_factory=list)
    segment: Segment | None = None
    groups: list[Group] = field(default_factory=list)

    @property
    def fusable(self) -> bool:
        """Whether layers may run as fused kernels, which know neither adapters nor memory elsewhere."""
        return not (self.uses_adapters or self.uses_lent)

    def on(self, device: torch.device) -> StepBatch:
        """Return this step with its tensors on another device. No test of the project has run this on a GPU yet."""
        segments = [_moved_segment(segment, device) for segment in self.segments]
        moved = replace(
            self,
            input_ids=self.input_ids.to(device),
            positions=self.positions.to(device),
            sampled=None if self.sampled is None else self.sampled.to(device),
            segments=segments,
            sampled_groups=[Group(group.adapter, group.tokens.to(device)) for group in self.sampled_groups],
        )
        moved.enter(segments[0])
        return moved

    def enter(self, segment: Segment) -> None:
        """From here on, attention and adapters work on the tokens of `segment`."""
        self.segment, self.groups = segment, segment.groups


def _moved_segment(segment: Segment, device: torch.device) -> Segment:
    batch = segment.batch
    return Segment(
        first=segment.first,
        last=segment.last,
        tokens=None if segment.tokens is None else segment.tokens.to(device),
        batch=RaggedBatch(
            query_starts=batch.query_starts.to(device),
            context_lens=batch.context_lens.to(device),
            block_tables=batch.block_tables.to(device),
            slots=batch.slots.to(device),
        ),
        groups=[Group(group.adapter, group.tokens.to(device)) for group in segment.groups],
        slots=segment.slots,
    )


class _Current(threading.local):
    """The steps under way in one thread, the inner one last."""

    def __init__(self) -> None:
        self.steps: list[StepBatch] = []


_current = _Current()


def current() -> StepBatch:
    """Return the step under way; the model's own code stands between runner and attention and knows nothing of it."""
    if not _current.steps:
        raise EngineError("engine: the model must be run by a Runner, but no step is under way. Use Runner.run.")
    return _current.steps[-1]


@contextmanager
def under_way(step: StepBatch) -> Iterator[StepBatch]:
    """Make `step` the current one."""
    _current.steps.append(step)
    try:
        yield step
    finally:
        _current.steps.pop()
