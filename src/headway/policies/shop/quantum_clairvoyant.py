"""Clairvoyant earliest deadline first: nothing breaks, and a resource may idle for what is about to come."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.nouns import Id
from headway.policies.shop.quantum_nouns import Entry, Piece
from headway.policies.shop.quantum_runs import NETWORK, Run, by_deadline


def clairvoyant(runs: Sequence[Run], *, is_one: bool) -> list[Entry] | None:
    """Start the ready run with the earliest deadline, unless one that is released meanwhile would then be too late.

    Source: Ekelin, "Clairvoyant Non-Preemptive EDF Scheduling", 2006.

    Parameters
    ----------
    runs : sequence of Run
        To be placed.
    is_one : bool
        Whether the network is one resource; else each node is one, from the start of a block to its end.
    """
    todo, entries = sorted(runs, key=by_deadline), list[Entry]()
    free_at: dict[Id, int] = {}
    now = 0
    while todo:
        if any(max(now, run.release) + run.num_slots > run.deadline for run in todo):
            return None
        for run in [run for run in todo if run.release <= now]:
            names = _needs(run, is_one)
            if all(free_at.get(name, 0) <= now for name in names) and not _is_harmful(run, now, todo, is_one):
                todo.remove(run)
                free_at.update(dict.fromkeys(names, now + run.num_slots))
                entries.append(Entry(run.demand, run.release, run.deadline, (Piece(0, now, run.num_slots),)))
        later = [at for at in (*free_at.values(), *(run.release for run in todo)) if at > now]
        if todo and not later:
            return None  # what is left waits for what would be harmed by it
        now = min(later, default=now)
    return entries


def _needs(run: Run, is_one: bool) -> tuple[Id, ...]:
    return (NETWORK,) if is_one else run.protocol.nodes


def _is_harmful(run: Run, now: int, todo: Sequence[Run], is_one: bool) -> bool:
    """Whether a run that is released before this one ends could then no longer keep its deadline."""
    end, names = now + run.num_slots, set(_needs(run, is_one))
    return any(
        now < other.release < end
        and other.deadline - other.num_slots < end
        and not names.isdisjoint(_needs(other, is_one))
        for other in todo
    )
