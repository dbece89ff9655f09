"""How many instances there should be, by how free they are on average.

Sun et al. 2024 (arXiv 2406.03243) describe it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headway.core.actions import Action, Set
from headway.core.nouns import Id
from headway.policies.serving.llumnix_load import Freeness
from headway.policies.serving.pools import PoolState
from headway.policies.serving.state import InstanceState


@dataclass(frozen=True)
class ScaleByFreeness:
    """Keeps the mean freeness of each pool within bounds.

    Parameters
    ----------
    freeness : Freeness
        The measure.
    up_below, down_above : float
        More instances when the mean is below the one, fewer when it would stay above the other; up < down.
    min_instances : int
        Never fewer than so many per pool, >= 1.
    """

    freeness: Freeness
    up_below: float
    down_above: float
    min_instances: int

    def steer(self, instances: Mapping[Id, InstanceState], pools: Mapping[str, PoolState]) -> Iterator[Action]:
        """Ask for more instances of a pool at once, or for one fewer."""
        for name, pool in pools.items():
            serving = [i for i in instances.values() if i.pool == name and not i.draining]
            wanted = self._wanted(serving, pool)
            if wanted != pool.num_wanted:
                yield Set("num_instances", float(wanted), of=name)

    def _wanted(self, serving: Sequence[InstanceState], pool: PoolState) -> int:
        if not serving:
            return max(pool.num_wanted, min(self.min_instances, pool.most))
        least = min(serving, key=_num_requests)
        total, empty = sum(self._of(i) for i in serving), float(least.kv.num_blocks)
        if (total + pool.num_starting * empty) / (len(serving) + pool.num_starting) < self.up_below:
            # As many empty ones as lift the mean of all to the bound.
            short = self.up_below * len(serving) - total
            return min(pool.most, len(serving) + max(pool.num_starting, math.ceil(short / (empty - self.up_below))))
        rest = total - self._of(least)
        is_idle = len(serving) > self.min_instances and not pool.num_starting and not pool.num_draining
        if is_idle and rest / max(1, len(serving) - 1) > self.down_above:
            return pool.num_wanted - 1
        return pool.num_wanted

    def _of(self, instance: InstanceState) -> float:
        """Return how free an instance is; an empty one as if a single request of no length ran there."""
        return min(self.freeness.of(instance), float(instance.kv.num_blocks))


def _num_requests(instance: InstanceState) -> int:
    return instance.num_requests
