"""How much KV memory is lent to fine-tuning: as much as its job needs while serving does not, and nothing else."""

from __future__ import annotations

import math

from headway.core.actions import Set
from headway.policies.serving.jobs import TUNE_BLOCKS, JobState
from headway.policies.serving.state import InstanceState


class LentMemory:
    """Lends memory above a mark and takes it back below another; requests always win.

    Parameters
    ----------
    low_free_frac : float
        Below this share of free blocks what is lent is taken back, in [0, 1); 0.05. One block more per running request
        is kept free, which is what they can grow by in a step.
    high_free_frac : float
        So much must be free after lending, in [0, 1); 0.10. Between both marks nothing changes.
    gives_back : bool
        Whether memory is taken back at all; otherwise only when serving cannot go on without.
    """

    def __init__(self, *, low_free_frac: float = 0.05, high_free_frac: float = 0.10, gives_back: bool = True) -> None:
        self.low_free_frac = low_free_frac
        self.high_free_frac = high_free_frac
        self.gives_back = gives_back

    def most_blocks(self, instance: InstanceState) -> int:
        """How many blocks of an instance can be lent at most: those of one that serves nothing."""
        return instance.kv.num_blocks - math.ceil(self.high_free_frac * instance.kv.num_blocks)

    def take_back(self, instance: InstanceState) -> Set | None:
        """Return how memory is taken back from fine-tuning, where serving is short of it."""
        if not instance.tune_blocks or not self._is_short(instance):
            return None
        if not self.gives_back and (instance.num_running or instance.busy):
            return None
        return Set(TUNE_BLOCKS, 0, of=instance.id)

    def lend(self, instance: InstanceState, jobs: list[JobState], started_blocks: int = 0) -> Set | None:
        """Return how memory is lent to the jobs of an instance, where it needs more and serving can do without.

        Parameters
        ----------
        instance : InstanceState
            Where.
        jobs : list of JobState
            Those that are trained there.
        started_blocks : int
            How many blocks the decision under way takes besides, >= 0.
        """
        lent = len(instance.tune_blocks)
        spare = math.ceil(self.high_free_frac * instance.kv.num_blocks) + instance.num_running
        for wanted in sorted({state.job.kv_blocks for state in jobs if state.job.kv_blocks > lent}, reverse=True):
            left = instance.kv.num_free - started_blocks - (wanted - lent)
            if left >= spare and not self._waits_for_memory(instance, left):  # or it would be taken back at once
                return Set(TUNE_BLOCKS, wanted, of=instance.id)
        return None

    def _is_short(self, instance: InstanceState) -> bool:
        low = math.ceil(self.low_free_frac * instance.kv.num_blocks) + instance.num_running
        return instance.kv.num_free < low or self._waits_for_memory(instance, instance.kv.num_free)

    def _waits_for_memory(self, instance: InstanceState, num_free: int) -> bool:
        """Whether the first of those who wait may have to wait because no more blocks than this are free."""
        if not instance.waiting or instance.num_running >= instance.max_running:
            return False
        first = next(iter(instance.waiting.values()))
        low = math.ceil(self.low_free_frac * instance.kv.num_blocks) + instance.num_running
        return instance.kv.blocks_for(first.known_tokens) + low > num_free
