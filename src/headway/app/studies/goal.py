"""What `headway plan` is told to look for: the ``[plan]`` table of a recipe."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from headway.app.studies.choice import Choice, choice, distinct
from headway.app.studies.recipe import Recipe, check_keys
from headway.core.errors import ConfigError
from headway.core.parameters import decode

MIN_TOLERANCE = 1e-4
"""Closer than that, halving would go on until numbers are no longer told apart."""


class Goal(Struct, frozen=True, kw_only=True):
    """A question about capacity.

    Parameters
    ----------
    goal : str
        ``"load"``: the largest load within the objectives. ``"cost"``: the cheapest hardware, parallelism and policy
        for a load.
    attain_frac : float
        Share of the requests that must meet all of their objectives, in (0, 1]; 0.9.
    max_load : float
        No larger load is tried, > 0; 8.
    tolerance_frac : float
        How close to the largest load is close enough, > 0; 0.02.
    load : float
        For ``"cost"``: the load to carry, > 0; 1.
    accelerators : list of str
        For ``"cost"``: what may be used; that of the recipe's first fleet.
    tensor_parallel, pipeline_parallel : list of int
        For ``"cost"``: how a model may be split; as in the recipe's first fleet.
    policies : list of str or table
        Who may decide; those of the recipe.
    max_instances : int
        For ``"cost"``: no more are tried, >= 1; 64.
    within_frac : float
        For ``"cost"``: options that are by no more than this share dearer than the best are ranked, too, >= 0; 0.25.
    rank : str
        For ``"cost"``: by ``"usd_per_h"`` or by ``"accelerators"``, how many of them.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    goal: Literal["load", "cost"] = "load"
    attain_frac: float = 0.9
    max_load: float = 8.0
    tolerance_frac: float = 0.02
    load: float = 1.0
    accelerators: tuple[str, ...] = ()
    tensor_parallel: tuple[int, ...] = ()
    pipeline_parallel: tuple[int, ...] = ()
    policies: tuple[str | dict[str, Any], ...] = ()
    max_instances: int = 64
    within_frac: float = 0.25
    rank: Literal["usd_per_h", "accelerators"] = "usd_per_h"

    def __post_init__(self) -> None:
        above_zero = {"max_load": self.max_load, "tolerance_frac": self.tolerance_frac, "load": self.load}
        for name, value in above_zero.items():
            if not value > 0:
                raise ConfigError(f"[plan]: {name} must be > 0, got {value}.")
        if self.tolerance_frac < MIN_TOLERANCE:
            raise ConfigError(
                f"[plan]: tolerance_frac must be >= {MIN_TOLERANCE}, got {self.tolerance_frac}. Try 0.02."
            )
        if not 0 < self.attain_frac <= 1:
            raise ConfigError(f"[plan]: attain_frac must be in (0, 1], got {self.attain_frac}. Try 0.9.")
        if not self.within_frac >= 0:
            raise ConfigError(f"[plan]: within_frac must be >= 0, got {self.within_frac}. Try 0.25.")
        if self.max_instances < 1:
            raise ConfigError(f"[plan]: max_instances must be >= 1, got {self.max_instances}. Try 64.")


def goal_of(recipe: Recipe) -> Goal:
    """Read what a recipe asks for.

    Raises
    ------
    ConfigError
        When a key is unknown, of the wrong type or out of range.
    """
    where = f"{recipe.path}: [plan]"
    check_keys(recipe.plan, Goal, where)
    return decode(Goal, recipe.plan, where=where)


def players(recipe: Recipe, goal: Goal) -> tuple[Choice, ...]:
    """Return the policies that a plan tries: its own, or all of the recipe."""
    if goal.policies:
        where = f"{recipe.path}: [plan]"
        return distinct([choice(said, where) for said in goal.policies], where)
    _ = recipe.policy  # there must be one
    return recipe.policies
