"""Pools of instances: how many of each serve, come up and leave, and who of them can take a request."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from headway.policies.serving.state import InstanceState, RequestState


class PoolState(Struct):
    """How many instances a pool has; a board keeps it and policies read it.

    Parameters
    ----------
    num_up : int
        Those that take requests.
    num_starting : int
        Those that will, as soon as they have started or are repaired.
    num_draining : int
        Those that only finish what they have.
    most : int
        No more than so many can be in use.
    """

    num_up: int = 0
    num_starting: int = 0
    num_draining: int = 0
    most: int = 0

    @property
    def num_wanted(self) -> int:
        """As many as were asked for: those that take requests, or will."""
        return self.num_up + self.num_starting


def pools_of(instances: Iterable[InstanceState]) -> dict[str, PoolState]:
    """Return the pools that some instances make up, all of which serve."""
    found: dict[str, PoolState] = {}
    for instance in instances:
        pool = found.setdefault(instance.pool, PoolState())
        pool.num_up += 1
        pool.most += 1
    return found


def takers(state: RequestState, instances: Iterable[InstanceState]) -> list[InstanceState]:
    """Return the instances that can take a request: those that do not drain and could hold it.

    Where none could hold it, all that do not drain; nobody when all drain.
    """
    taking = [instance for instance in instances if not instance.draining]
    reach = state.reach_tokens
    return [i for i in taking if i.kv.num_blocks * i.kv.block_size >= reach] or taking
