"""What could be bought: accelerators, and how a model is split over them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headway.app.studies.goal import Goal
from headway.app.studies.recipe import Recipe
from headway.core.errors import ConfigError
from headway.core.parameters import decode
from headway.sim.serving.place import Place
from headway.sim.serving.scenario import ServingScenario

OF_ONE_RIG = ("kv_blocks", "usd_per_h", "calibration")
"""Keys of a fleet that hold for its own accelerator and split alone."""


class Rig(Struct, frozen=True, kw_only=True):
    """One kind of instance.

    Parameters
    ----------
    accelerator : str
        By name.
    tensor_parallel, pipeline_parallel : int
        How the model is split.
    """

    accelerator: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1

    @property
    def num_accelerators(self) -> int:
        """In one instance."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def label(self) -> str:
        """The instance in a few words, such as ``"h100-sxm TP2"``."""
        tensor = f" TP{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        pipeline = f" PP{self.pipeline_parallel}" if self.pipeline_parallel > 1 else ""
        return f"{self.accelerator}{tensor}{pipeline}"


def rigs(recipe: Recipe, goal: Goal) -> list[Rig]:
    """Return every kind of instance that a goal allows; what it does not say is as in the recipe's fleet."""
    fleet = fleet_of(recipe)
    accelerators = goal.accelerators or (str(fleet.get("accelerator", "")),)
    tensor = goal.tensor_parallel or (int(fleet.get("tensor_parallel", 1)),)
    pipeline = goal.pipeline_parallel or (int(fleet.get("pipeline_parallel", 1)),)
    return [
        Rig(accelerator=one, tensor_parallel=tp, pipeline_parallel=pp)
        for one, tp, pp in itertools.product(accelerators, tensor, pipeline)
    ]


def fleet_of(recipe: Recipe) -> Mapping[str, Any]:
    """Return the one fleet of a recipe.

    Raises
    ------
    ConfigError
        When there is not exactly one: which of several should grow is not for us to say.
    """
    fleets = recipe.setting.get("fleet", [])
    if recipe.family != "serving" or not isinstance(fleets, list | tuple) or len(fleets) != 1:
        got = f"{len(fleets)} of family {recipe.family}"
        raise ConfigError(f'{recipe.path}: goal = "cost" needs exactly one [[fleet]] of family serving, got {got}.')
    fleet: Mapping[str, Any] = fleets[0]
    return fleet


def on_rig(recipe: Recipe, rig: Rig, num_instances: int) -> dict[str, Any]:
    """Return the setting of a recipe with so many instances of a kind as its fleet."""
    split = {"tensor_parallel": rig.tensor_parallel, "pipeline_parallel": rig.pipeline_parallel}
    kind = {"accelerator": rig.accelerator, **split}
    fleet = dict(fleet_of(recipe))
    if any(fleet.get(key, 1) != value for key, value in kind.items()):
        fleet = {key: value for key, value in fleet.items() if key not in OF_ONE_RIG}
    return {**recipe.setting, "fleet": [{**fleet, **kind, "instances": num_instances}]}


def place_on(recipe: Recipe, rig: Rig) -> Place:
    """Work out what one instance costs.

    Raises
    ------
    UnknownName, ConfigError
        When a name is unknown, or the model cannot be split so or does not fit.
    """
    return decode(ServingScenario, on_rig(recipe, rig, 1), where=recipe.path).places[0]
