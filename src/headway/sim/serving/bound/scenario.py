"""The best possible of a scenario, as any policy that plays it is held against."""

from __future__ import annotations

from headway.sim.serving.bound.line import Line
from headway.sim.serving.bound.lines import lines_below
from headway.sim.serving.bound.possible import Possible, most_good
from headway.sim.serving.bound.work import Instances, promises_of, work_of
from headway.sim.serving.place import Place
from headway.sim.serving.scenario import ServingScenario


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
        side), ``"lend"`` (memory of several instances). Drafts are allowed for wherever there is a draft model.
    whole : bool
        Whether requests are taken whole or not at all: tighter, for up to a hundred of them.

    Raises
    ------
    ConfigError
        When nothing is known of a price.
    """
    table = scenario.trace.draw(seed, load)
    fleet = fleet_of(scenario, uses)
    work = work_of(table, scenario.model.max_tokens, caching=any(kind.caching for kind in fleet))
    promises = promises_of(table, scenario.classes)
    return most_good(table, work, promises, fleet, lends="lend" in uses, whole=whole)


def fleet_of(scenario: ServingScenario, uses: frozenset[str] = frozenset()) -> list[Instances]:
    """Return the instances of a scenario by kind, those that may be added included."""
    kinds: dict[tuple[int, int, int], list[Place]] = {}
    for place in scenario.places:
        kinds.setdefault((id(place.replica.price), place.num_blocks, place.spec.block_size), []).append(place)
    return [
        Instances(
            lines=_lines(places[0], scenario.model.acceptance_frac > 0, uses),
            num=len(places),
            kv_tokens=places[0].num_blocks * places[0].spec.block_size,
            num_stages=places[0].replica.num_stages,
            caching=places[0].spec.caching,
        )
        for places in kinds.values()
    ]


def _lines(place: Place, drafts: bool, uses: frozenset[str]) -> tuple[Line, ...]:
    found = lines_below(place.replica.price, "lanes" in uses)
    if drafts:
        found = tuple(line.drafting() for line in found)
    return tuple(line.lending() for line in found) if "lend" in uses else found
