"""The best possible of a scenario, as any policy that plays it is held against."""

from __future__ import annotations

from collections import Counter

from headway.sim.serving.bound.lines import lines_below
from headway.sim.serving.bound.possible import Possible, most_good
from headway.sim.serving.bound.work import Instances, promises_of, work_of
from headway.sim.serving.place import Place
from headway.sim.serving.scenario import ServingScenario

UNBOUNDED = frozenset({"speculate"})
"""What executors can do that the bound knows nothing of."""


def best_possible(
    scenario: ServingScenario,
    *,
    seed: int = 0,
    load: float = 1.0,
    uses: frozenset[str] = frozenset(),
    whole: bool = False,
) -> Possible:
    """Bound what any policy can serve as promised in a scenario.

    Parameters
    ----------
    scenario : ServingScenario
        What is played.
    seed : int
        Of the requests.
    load : float
        Factor on the rate of arrivals, > 0.
    uses : frozenset of str
        What the policies do beyond one plain step after the other on each instance: ``"lanes"`` (several steps side by
        side), ``"lend"`` (memory of several instances). With ``"speculate"`` nothing is known: everything is possible.
    whole : bool
        Whether requests are taken whole or not at all: tighter, for up to a hundred of them.

    Raises
    ------
    ConfigError
        When nothing is known of a price.
    """
    table = scenario.trace.draw(seed, load)
    if uses & UNBOUNDED:
        return Possible(len(table), len(table), 1.0, 0, True)
    fleet = fleet_of(scenario, side_by_side="lanes" in uses)
    work = work_of(table, scenario.model.max_tokens, caching=any(kind.caching for kind in fleet))
    promises = promises_of(table, scenario.classes)
    return most_good(table, work, promises, fleet, lends="lend" in uses, whole=whole)


def fleet_of(scenario: ServingScenario, *, side_by_side: bool = False) -> list[Instances]:
    """Return the instances of a scenario by kind."""
    kinds = Counter((id(place.replica.price), place.num_blocks, place.spec.block_size) for place in scenario.places)
    found: dict[tuple[int, int, int], Place] = {
        (id(place.replica.price), place.num_blocks, place.spec.block_size): place for place in scenario.places
    }
    return [
        Instances(
            lines=lines_below(place.replica.price, side_by_side),
            num=kinds[key],
            kv_tokens=place.num_blocks * place.spec.block_size,
            num_stages=place.replica.num_stages,
            caching=place.spec.caching,
        )
        for key, place in found.items()
    ]
