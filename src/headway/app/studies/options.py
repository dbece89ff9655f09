"""What could carry a load, before anything is tried: kinds of instances under policies, with their floors."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec import Struct

from headway.app.studies.choice import Choice
from headway.app.studies.floors import Demand, fewest_instances, loosest, why_too_slow
from headway.app.studies.goal import Goal, players
from headway.app.studies.recipe import Recipe
from headway.app.studies.rigs import Rig, place_on, rigs
from headway.app.studies.watch import bounds_in
from headway.core.errors import ConfigError
from headway.core.parameters import decode
from headway.sim.serving.place import Place
from headway.traces.spec import TraceSpec


class Option(Struct, frozen=True, kw_only=True):
    """A kind of instance under a policy, before it is tried.

    Parameters
    ----------
    rig : Rig
        The kind of instance.
    policy : Choice
        Who decides.
    usd_per_h : float
        Price of one instance.
    price : float
        What one instance counts in the ranking.
    fewest : int
        How many are needed at the least.
    notes : tuple of str
        What to know before quoting numbers of it.
    """

    rig: Rig
    policy: Choice
    usd_per_h: float
    price: float
    fewest: int
    notes: tuple[str, ...] = ()


def options_of(recipe: Recipe, goal: Goal) -> Iterator[tuple[Option, str]]:
    """Yield every kind of instance under every policy that a goal allows, and why it cannot do, if it cannot.

    Raises
    ------
    HeadwayError
        When the recipe cannot be played.
    """
    demand = _demand(recipe, goal)
    for rig in rigs(recipe, goal):
        place, why = _facts(recipe, rig, demand)
        usd_per_h = _usd_per_h(place) if place else math.nan
        fewest = fewest_instances(place.replica, demand) if place and not why else 1
        for policy in players(recipe, goal):
            option = Option(
                rig=rig,
                policy=policy,
                usd_per_h=usd_per_h,
                price=usd_per_h if goal.rank == "usd_per_h" else float(rig.num_accelerators),
                fewest=fewest,
                notes=place.notes if place else (),
            )
            if not why and fewest > goal.max_instances:
                why = f"needs {in_words(fewest)} at the least, over max_instances = {goal.max_instances}"
            yield option, why


def _facts(recipe: Recipe, rig: Rig, demand: Demand) -> tuple[Place | None, str]:
    try:
        place = place_on(recipe, rig)
    except ConfigError as error:
        return None, str(error).removeprefix("replica: ").partition(" Try ")[0]
    return place, why_too_slow(place.replica, demand)


def _usd_per_h(place: Place) -> float:
    return place.replica.usd_per_h if place.spec.usd_per_h is None else place.spec.usd_per_h


def _demand(recipe: Recipe, goal: Goal) -> Demand:
    spec = decode(TraceSpec, recipe.setting.get("trace", {}), where=f"{recipe.path}: [trace]")
    bounds = loosest(bounds_in(recipe.setting.get("slo", ())))
    return Demand(spec.draw(recipe.seeds[0], goal.load), goal.attain_frac, bounds)


def in_words(num: int) -> str:
    """Return a number of instances in words."""
    return f"{num} instance{'s' if num > 1 else ''}"
