"""Least squares over relative errors, learnt one observation at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SETTLED = 16
"""Observations, of which the smallest says by how much the prior as a whole is off."""
NOISE_FRAC = 0.02
"""How far a single observation may be off, by no fault of the weights."""


class RelativeFit:
    """A positive quantity that is linear in features, with weights none of which is below 0.

    Kept are the sums of the normal equations, so that nothing can drift; they are solved when somebody asks.

    Parameters
    ----------
    prior : sequence of float
        Weights to begin with, `[n]`, each > 0. What is trusted of them are their sizes relative to each other.
    units : sequence of float
        In which features are about 1, `[n]`, each > 0.
    prior_weight : float
        How many observations the prior is worth, > 0.
    forget : float
        What the weight of an observation is multiplied by with each later one, in (0, 1].
    """

    def __init__(
        self, prior: Sequence[float], units: Sequence[float], *, prior_weight: float = 0.1, forget: float = 0.998
    ) -> None:
        self.num_seen = 0
        self._units = np.array(units, np.float64)
        self._prior = np.array(prior, np.float64) * self._units
        self._prior_weight = prior_weight
        self._forget = forget
        self._scale = 1.0
        self._products = np.zeros((len(self._prior), len(self._prior)))
        self._sums = np.zeros(len(self._prior))
        self._weights: NDArray[np.float64] | None = None

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weights now, `[n]`."""
        if self._weights is None:
            # The prior is trusted relative to its own size, as if each number had been seen a few times.
            prior = self._scale * self._prior
            trust = (self._prior_weight * NOISE_FRAC / prior) ** 2
            products = self._products + np.diag(trust)
            self._weights = _not_negative(products, self._sums + trust * prior) / self._units
        return self._weights

    def predict(self, features: NDArray[np.float64]) -> float:
        """Return what is expected with features `[n]`, > 0."""
        return max(float(features @ self.weights), 1e-6)

    def learn(self, features: NDArray[np.float64], seen: float) -> None:
        """Take in one observation, > 0; all count by their relative error, older ones less."""
        x = features / self._units
        if self.num_seen < SETTLED:  # what is observed may be far from the prior, and the first of all farther yet
            scale = seen / float(x @ self._prior)
            self._scale = min(self._scale, scale) if self.num_seen else scale
        x = x / seen
        self._products = self._forget * self._products + np.outer(x, x)
        self._sums = self._forget * self._sums + x
        self._weights = None
        self.num_seen += 1


def _not_negative(products: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve the normal equations `[n, n]`, `[n]`; weights that would come out below 0 are 0, one after the other."""
    free = np.ones(len(sums), bool)
    while True:
        found = np.zeros(len(sums))
        found[free] = np.linalg.solve(products[np.ix_(free, free)], sums[free])
        if (found >= 0).all():
            return found
        free[int(np.argmin(found))] = False
