"""What a robot may do next without ever getting stuck.

A hand may take glass only if afterwards a hand can be emptied: into a chamber that is free or that was just emptied, or
onto a buffer. In a recipe that uses no chamber twice this is enough: what the last stage has done can always leave, so
that something can always go on. Glass rests on a buffer only while it has nowhere better to go, and leaves it only for
a chamber, so that it cannot go to and fro for ever.
"""

from __future__ import annotations

from headway.core.nouns import Id
from headway.policies.shop.glass_board import NOBODY, CellView


def picks(view: CellView) -> dict[int, int]:
    """Return the stations at which glass may be picked, with the hand that takes it."""
    hands = view.hands
    if NOBODY not in hands:
        return {}
    hand = hands.index(NOBODY)
    held = next((glass for glass in hands if glass), NOBODY)
    return {station: hand for station in _occupied(view) if _is_safe(view, station, held)}


def places(view: CellView) -> dict[int, int]:
    """Return the stations at which glass may be put down, with the hand that holds it."""
    found: dict[int, int] = {}
    for hand, glass in enumerate(view.hands):
        if glass:
            proper = free_places(view, view.stage_of(glass))
            for station in proper or [one for one in view.layout.buffers if not view.glass[one]]:
                found.setdefault(station, hand)
    return found


def free_places(view: CellView, stage: int) -> list[int]:
    """Return where a glass may be put down for this stage: chambers that are free, or the unloader."""
    return [station for station in view.layout.of_stage[stage] if not view.glass[station]]


def next_stage(view: CellView, station: int) -> int:
    """Which stage is next for the glass that a pick at this station would take."""
    if station == view.layout.loader:
        return 1
    return view.stage_of(view.glass[station])


def _occupied(view: CellView) -> list[int]:
    found = [station for station, glass in enumerate(view.glass) if glass]
    return [view.layout.loader, *found] if view.queue else found


def _is_safe(view: CellView, station: int, held: Id) -> bool:
    layout = view.layout
    has_place = bool(free_places(view, next_stage(view, station)))
    if station in layout.buffers:
        return has_place
    has_place = has_place or any(not view.glass[buffer] for buffer in layout.buffers)
    if has_place or (len(view.hands) == 2 and not held):
        return True
    return bool(held) and (station in layout.of_stage[view.stage_of(held)] or bool(places(view)))
