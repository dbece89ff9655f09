"""What tasks really take, as factors of what is expected of them."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.policies.shop.nouns import ShopJob


class Truth(Protocol):
    """How much longer or shorter tasks are than expected; no policy knows it in advance."""

    def factors(self, job: ShopJob, rng: np.random.Generator) -> list[float]:
        """Return what the tasks of a job really take, each as a factor of what is expected, > 0."""


class Noise(Struct, frozen=True):
    """Lognormal factors, 1 in the mean.

    Parameters
    ----------
    cv : float
        Coefficient of variation, >= 0.
    """

    cv: float

    def __post_init__(self) -> None:
        if not self.cv >= 0:
            raise ConfigError(f"shop: noise_cv must be >= 0, got {self.cv}. Try 0.2.")

    def factors(self, job: ShopJob, rng: np.random.Generator) -> list[float]:
        """Return what the tasks of a job really take, each as a factor of what is expected."""
        variance = math.log1p(self.cv**2)
        drawn: list[float] = rng.lognormal(-0.5 * variance, math.sqrt(variance), len(job.tasks)).tolist()
        return drawn
