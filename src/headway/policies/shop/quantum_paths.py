"""Shortest ways through a network of fibres."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from headway.core.nouns import Id
from headway.policies.shop.quantum_nouns import Fibre

Way = tuple[tuple[Id, ...], tuple[float, ...]]


def shortest(fibres: Sequence[Fibre], source: Id, target: Id) -> Way | None:
    """Return the nodes of the shortest way and the lengths in km between them; None when there is no way.

    Examples
    --------
    >>> shortest([Fibre("a", "b", 5.0), Fibre("b", "c", 5.0)], "a", "c")
    (('a', 'b', 'c'), (5.0, 5.0))
    """
    near: dict[Id, list[tuple[Id, float]]] = {}
    for fibre in fibres:
        near.setdefault(fibre.one, []).append((fibre.other, fibre.length_km))
        near.setdefault(fibre.other, []).append((fibre.one, fibre.length_km))
    todo: list[tuple[float, tuple[Id, ...], tuple[float, ...]]] = [(0.0, (source,), ())]
    seen = set[Id]()
    while todo:
        far_km, path, lengths = heapq.heappop(todo)
        if path[-1] == target:
            return path, lengths
        if path[-1] not in seen:
            seen.add(path[-1])
            for node, length in near.get(path[-1], ()):
                heapq.heappush(todo, (far_km + length, (*path, node), (*lengths, length)))
    return None
