"""Steps side by side: what the books of an instance with several lanes have beyond those of one step after the other.

Lanes share one KV memory and differ in what they compute: a request is in one step at a time. Pieces of a step under
way are `flying`, except for a step of all decodes, which holds the whole cohort. Who is given its first token meanwhile
joins the decodes when that step is over.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from headway.core.nouns import Id
from headway.policies.serving.nouns import Piece
from headway.policies.serving.state import InstanceState, RequestState

NUM_LANES = "num_lanes"
"""What `Set` turns, of an instance."""
MAX_LANES = 8
"""More than any mechanism has a use for."""


class UnderWay(Protocol):
    """What is asked of a step under way; `Survey` is one."""

    whole: bool
    rest: tuple[Piece, ...]
    joining: list[Id]


def is_taken(instance: InstanceState, state: RequestState) -> bool:
    """Whether a step under way computes a request that is among those running, or may do so."""
    if instance.num_lanes == 1:
        return instance.busy
    return instance.decodes_held and state.id in instance.decodes.members


def set_lanes(instance: InstanceState | None, num_lanes: float, can: Collection[str]) -> str | None:
    """Say how many steps of an idle instance can be under way at once; returns why not when that cannot be."""
    if instance is None:
        return "there is no such instance"
    if "lanes" not in can:
        return "this executor cannot lanes"
    if num_lanes != int(num_lanes) or not 1 <= num_lanes <= MAX_LANES:
        return f"num_lanes must be a whole number from 1 to {MAX_LANES}, got {num_lanes:g}"
    if instance.num_stages > 1:
        return "an instance in pipeline stages has one lane"
    if instance.busy or instance.num_under_way or instance.flying:
        return "a step is under way, or a request"
    instance.num_lanes = int(num_lanes)
    return None


def count(instance: InstanceState, under_way: Sequence[UnderWay]) -> None:
    """Note which steps are under way in the lanes of an instance."""
    instance.num_under_way = len(under_way)
    instance.decodes_held = any(found.whole for found in under_way)
    instance.busy = len(under_way) >= instance.num_lanes


def landing(instance: InstanceState, over: UnderWay, under_way: Iterable[UnderWay]) -> list[Id]:
    """Return who comes back to the others with the end of a step; who cannot yet is noted for later."""
    names = [*(piece.request for piece in over.rest), *over.joining]
    holder = next((found for found in under_way if found.whole), None)
    if holder is None:
        return names
    late = [name for name in names if _decodes(instance.flying.get(name))]
    holder.joining += late
    return [name for name in names if name not in late]


def _decodes(state: RequestState | None) -> bool:
    return state is not None and state.decoding and not state.layers_done
