"""What could be bought: accelerators, and how a model is split over them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headway.app.studies.goal import Goal
from headway.app.studies.recipe import Recipe
from headway.core.errors import ConfigError
from headway.sim.serving.cost import Replica, replica

MEMORY_KEYS = ("memory_frac", "max_batched_tokens")
"""Keys of a fleet that a replica's memory depends on."""


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
        """The instance in a few words, such as ``"2 x h100-sxm (TP 2)"``."""
        split = [f"TP {self.tensor_parallel}"] if self.tensor_parallel > 1 else []
        split += [f"PP {self.pipeline_parallel}"] if self.pipeline_parallel > 1 else []
        count = f"{self.num_accelerators} x " if self.num_accelerators > 1 else ""
        return f"{count}{self.accelerator}" + (f" ({', '.join(split)})" if split else "")


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
    fleet = {**fleet_of(recipe), "accelerator": rig.accelerator, **split, "instances": num_instances}
    return {**recipe.setting, "fleet": [fleet]}


def replica_of(recipe: Recipe, rig: Rig) -> Replica:
    """Work out what one instance costs.

    Raises
    ------
    UnknownName, ConfigError
        When a name is unknown, or the model cannot be split so or does not fit.
    """
    model, fleet = recipe.setting.get("model", {}), fleet_of(recipe)
    types = {key: model[key] for key in ("weights", "kv") if key in model}
    memory = {key: fleet[key] for key in MEMORY_KEYS if fleet.get(key) is not None}
    return replica(
        model.get("name", ""),
        rig.accelerator,
        tensor_parallel=rig.tensor_parallel,
        pipeline_parallel=rig.pipeline_parallel,
        **types,
        **memory,
    )
