"""Demands, protocols and tables for tests of quantum networks."""

from __future__ import annotations

from headway.core.nouns import Id
from headway.policies.shop.quantum_block import block
from headway.policies.shop.quantum_nouns import Demand, Protocol
from headway.policies.shop.quantum_search import Tree


def fibre(one: Id, other: Id, num_slots: int = 4, fidelity: float = 0.8) -> Tree:
    return Tree("generate", (one, other), (), fidelity, 100.0 / num_slots)


def direct(one: Id, other: Id, num_slots: int = 4) -> Protocol:
    """Return the protocol of two neighbours who need nothing but their fibre."""
    found = block(fibre(one, other, num_slots), 0.01)
    assert found is not None
    return found


def demand(source: Id, target: Id, rate_per_s: float = 1.0, fidelity: float = 0.6, name: Id = "demand-0") -> Demand:
    return Demand(
        id=name, kind="demand", arrival_s=0.0, source=source, target=target, fidelity=fidelity, rate_per_s=rate_per_s
    )
