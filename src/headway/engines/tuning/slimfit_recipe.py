"""How SlimFit fine-tunes, and what came of it."""

from __future__ import annotations

import math

from msgspec import Struct, field

from headway.core.errors import ConfigError
from headway.engines.tuning.slimfit_functions import LARGE_FRAC
from headway.policies.tuning.slimfit_nouns import FreezingJob


class Recipe(Struct, frozen=True, kw_only=True):
    """How to fine-tune.

    Parameters
    ----------
    learning_rate : float
        At the beginning, > 0; 1.25e-4, that of the authors' example for MRPC. It falls to 0 in a line.
    weight_decay : float
        Of trained units, >= 0; 0.01, as there. Biases do not decay.
    all_biases : bool
        Whether biases, which cost no memory, are always trained, as by the authors' code; else only with their weights.
    always : tuple of str
        With what the names of weights begin that are never frozen; the authors' code for CIFAR-10 and STS-B spares its
        new head, ``"classifier"``, so.
    slim_layers : bool
        Whether layers are exchanged for such as keep less; without, freezing spares what plain layers spare.
    norm_frac : float
        The share of its output, largest first, that a frozen slim LayerNorm keeps, in (0, 1]; 0.1, the paper's. Small
        models, whose outputs have no outliers, lose accuracy by it.
    memory_bytes : float
        What there is, > 0; the policy freezes more, or refuses, where its demand is larger.
    counts_bytes : bool
        Whether the bytes kept from forward to backward are counted in every iteration; takes a little time.
    seed : int
        Of dropout and of the policy.
    """

    learning_rate: float = 1.25e-4
    weight_decay: float = 0.01
    all_biases: bool = True
    always: tuple[str, ...] = ()
    slim_layers: bool = True
    norm_frac: float = LARGE_FRAC
    memory_bytes: float = math.inf
    counts_bytes: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ConfigError(f"slimfit: learning_rate must be > 0, got {self.learning_rate}. Try 1e-4.")
        if not self.weight_decay >= 0:
            raise ConfigError(f"slimfit: weight_decay must be >= 0, got {self.weight_decay}. Try 0.01.")
        if not 0 < self.norm_frac <= 1:
            raise ConfigError(f"slimfit: norm_frac must be in (0, 1], got {self.norm_frac}. Try 0.1, the paper's.")
        if not self.memory_bytes > 0:
            raise ConfigError(f"slimfit: memory_bytes must be > 0, got {self.memory_bytes}. Leave it out for no bound.")


class FineTuned(Struct, kw_only=True):
    """What a run came to.

    Parameters
    ----------
    job : FreezingJob
        The job as the policy saw it.
    losses : list of float
        By iteration.
    active : list of tuple of int
        Places of the units that were trained, by iteration.
    changes : list of tuple of float
        Their relative changes, by iteration.
    saved_bytes : list of int
        Kept from forward to backward, by iteration, where it was counted.
    took_s : list of float
        By iteration, in seconds.
    """

    job: FreezingJob
    losses: list[float] = field(default_factory=list)
    active: list[tuple[int, ...]] = field(default_factory=list)
    changes: list[tuple[float, ...]] = field(default_factory=list)
    saved_bytes: list[int] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    def num_trained(self) -> dict[str, int]:
        """How often each unit was trained, by name."""
        counts = [0] * len(self.job.units)
        for active in self.active:
            for place in active:
                counts[place] += 1
        return {unit.name: count for unit, count in zip(self.job.units, counts, strict=True)}
