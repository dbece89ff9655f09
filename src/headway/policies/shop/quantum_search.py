"""From a demand to a protocol: which repeater joins what, how often pairs are distilled, how each fibre is set.

A simple search over structures: the repeater in the middle is the one whose two sides are about as fast as each other,
as few distillations as suffice follow its swap, and a fibre that is not good enough by itself distils its own pairs,
one after the other (pumping) or in a tree (nested).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from headway.core.nouns import Id
from headway.policies.shop.quantum_links import settings
from headway.policies.shop.quantum_werner import distilled, pumped, swapped, unpumped, unswapped

MAX_PUMPS = 4
"""So often a pair is distilled with fresh ones at most."""
MAX_NESTED = 2
"""So deep is a tree of distillations at most."""
MAX_REPEATERS = 2
"""So many repeaters are tried as the middle of a path."""
MOST_AIMED = 0.99
"""No distillation that is looked at comes beyond this fidelity."""


class Tree(Struct, frozen=True):
    """An operation and those whose pairs it takes; `rate_per_s` is how many pairs it can make."""

    kind: Literal["generate", "swap", "distil"]
    at: tuple[Id, ...]
    inputs: tuple[Tree, ...]
    fidelity: float
    rate_per_s: float
    success: float = 1.0


@functools.lru_cache(maxsize=4096)
def search(path: tuple[Id, ...], lengths_km: tuple[float, ...], fidelity: float, rate_per_s: float) -> Tree | None:
    """Find a protocol over a path that makes pairs of a fidelity at a rate; None when none was found.

    Parameters
    ----------
    path : tuple of str
        Nodes, the users at its ends.
    lengths_km : tuple of float
        Of the fibres between them.
    fidelity : float
        At least, in [0.25, 1].
    rate_per_s : float
        At least, > 0.
    """
    if len(path) == 2:
        return _fibre((path[0], path[1]), lengths_km[0], fidelity, rate_per_s)
    for pumps in range(MAX_PUMPS + 1):
        before = unpumped(fidelity, pumps)
        if before is None:
            continue
        joined = _joined(path, lengths_km, unswapped(before), rate_per_s * (pumps + 1))
        if joined is not None:
            return _pumped(joined, pumps)
    return None


def _joined(path: tuple[Id, ...], lengths_km: tuple[float, ...], fidelity: float, rate_per_s: float) -> Tree | None:
    """Swap at one of the repeaters nearest to the middle: at that whose slower side is the fastest."""
    if fidelity > MOST_AIMED:
        return None
    middle = sorted(range(1, len(path) - 1), key=lambda place: abs(sum(lengths_km[:place]) - sum(lengths_km[place:])))
    found = [_at(path, lengths_km, place, fidelity, rate_per_s) for place in middle[:MAX_REPEATERS]]
    return max((tree for tree in found if tree), key=lambda tree: tree.rate_per_s, default=None)


def _at(
    path: tuple[Id, ...], lengths_km: tuple[float, ...], place: int, fidelity: float, rate_per_s: float
) -> Tree | None:
    left = search(path[: place + 1], lengths_km[:place], fidelity, rate_per_s)
    right = search(path[place:], lengths_km[place:], fidelity, rate_per_s) if left else None
    if not left or not right:
        return None
    rate = min(left.rate_per_s, right.rate_per_s)
    return Tree("swap", (path[place],), (left, right), swapped(left.fidelity, right.fidelity), rate)


def _fibre(ends: tuple[Id, Id], length_km: float, fidelity: float, rate_per_s: float) -> Tree | None:
    """Return the fastest way to make pairs over one fibre that are good enough."""
    plain = [Tree("generate", ends, (), one.fidelity, one.rate_per_s) for one in settings(length_km)]
    enough = [tree for tree in plain if tree.fidelity >= fidelity]
    if not enough:
        enough = [tree for one in plain for tree in _bettered(one) if tree.fidelity >= fidelity]
    enough = [tree for tree in enough if tree.rate_per_s >= rate_per_s]
    return max(enough, key=lambda tree: tree.rate_per_s) if enough else None


def _bettered(one: Tree) -> Iterator[Tree]:
    for pumps in range(1, MAX_PUMPS + 1):
        if pumped(one.fidelity, pumps) > one.fidelity:
            yield _pumped(one, pumps)
    nested = one
    for _ in range(MAX_NESTED):
        nested = _distilled(nested, nested, nested.rate_per_s / 2)
        yield nested


def _pumped(fresh: Tree, times: int) -> Tree:
    tree = fresh
    for nth in range(times):
        tree = _distilled(tree, fresh, fresh.rate_per_s / (nth + 2))
    return tree


def _distilled(one: Tree, other: Tree, rate_per_s: float) -> Tree:
    fidelity, success = distilled(one.fidelity, other.fidelity)
    return Tree("distil", _ends(one), (one, other), fidelity, rate_per_s, success)


def _ends(tree: Tree) -> tuple[Id, ...]:
    """Between which nodes the pair of an operation is."""
    if tree.kind != "swap":
        return tree.at
    left, right = tree.inputs
    (middle,) = tree.at
    return (*[node for node in _ends(left) if node != middle], *[node for node in _ends(right) if node != middle])
