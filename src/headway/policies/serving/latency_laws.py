"""How latency follows from a share of the compute: ``scale / (share - knee) + base``, fitted to what was seen.

Time per output token has its knee at 0. Time to first token is that of a queue whose server works in proportion to
its share; its knee is the share at which the work that arrives would keep it busy all the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Sample = tuple[float, float]
"""A share of the compute, and the latency seen with it."""

NUM_KNEES = 40
"""How many knees are tried, from 0 to almost the smallest share that was seen."""
TTFT_BASE_FRAC = 0.03
"""Which part of the time to first token at the full share does not depend on the share, until two shares were seen; of
the fit that the authors publish."""
TPOT_BASE_FRAC = 0.38
"""The same of the time per output token."""


class Law(NamedTuple):
    """A latency as a function of a share of the compute.

    Parameters
    ----------
    scale, base : float
        In the unit of the latency, >= 0.
    knee : float
        The share at and below which it is infinite, in [0, 1).
    """

    scale: float
    base: float
    knee: float = 0.0

    def at(self, share: float) -> float:
        """Return the latency at a share."""
        return self.scale / (share - self.knee) + self.base if share > self.knee else math.inf

    def through(self, share: float, latency: float) -> Law:
        """Return the law of this base and knee that has a latency at a share above the knee."""
        at = self.at(share)
        if latency <= self.base or math.isinf(at):
            return (
                self if not 0 < at < math.inf else Law(self.scale * latency / at, self.base * latency / at, self.knee)
            )
        return self._replace(scale=(latency - self.base) * (share - self.knee))

    def r_squared(self, samples: Sequence[Sample]) -> float:
        """Return how much of the variance of samples it explains; NaN when they do not vary."""
        seen = np.array([latency for _, latency in samples])
        said = np.array([self.at(share) for share, _ in samples])
        spread = float(((seen - seen.mean()) ** 2).sum())
        return 1 - float(((seen - said) ** 2).sum()) / spread if spread > 0 else math.nan


def fit_tpot(samples: Sequence[Sample]) -> Law:
    """Fit the law of the time per output token: least squares, in the reciprocal of the share."""
    return _scaled(samples, 0.0, TPOT_BASE_FRAC) if _num_shares(samples) < 2 else _least_squares(samples, 0.0)


def fit_ttft(samples: Sequence[Sample], knee: float) -> Law:
    """Fit the law of the time to first token.

    Parameters
    ----------
    samples : sequence of (share, latency)
        At least one.
    knee : float
        The knee to take as long as fewer than three shares were seen, >= 0; later all knees are tried.
    """
    least = min(share for share, _ in samples)
    knee = min(knee, 0.95 * least)
    num_shares = _num_shares(samples)
    if num_shares < 2:
        return _scaled(samples, knee, TTFT_BASE_FRAC)
    knees = [knee] if num_shares < 3 else np.linspace(0, 0.98 * least, NUM_KNEES).tolist()
    return min((_least_squares(samples, one) for one in knees), key=lambda law: _error(law, samples))


def _num_shares(samples: Sequence[Sample]) -> int:
    return len({round(share, 3) for share, _ in samples})


def _scaled(samples: Sequence[Sample], knee: float, base_frac: float) -> Law:
    """Return the law of a given shape that goes through the mean of samples at one share."""
    share, latency = (float(mean) for mean in np.mean(samples, axis=0))
    # At the full share the base would be base_frac of the whole: base = frac / (1 - frac) * scale / (1 - knee).
    base_per_scale = base_frac / (1 - base_frac) / (1 - knee)
    scale = latency / (1 / (share - knee) + base_per_scale)
    return Law(scale, scale * base_per_scale, knee)


def _least_squares(samples: Sequence[Sample], knee: float) -> Law:
    """Return the law with this knee that fits best; more of a share never makes slower."""
    shares, seen = np.array(samples).T
    inverse = 1 / (shares - knee)
    centred = inverse - inverse.mean()
    scale = max(0.0, float(centred @ seen / (centred @ centred)))
    base = float(seen.mean() - scale * inverse.mean())
    if base < 0:
        return Law(max(0.0, float(inverse @ seen / (inverse @ inverse))), 0.0, knee)
    return Law(scale, base, knee)


def _error(law: Law, samples: Sequence[Sample]) -> float:
    return sum((law.at(share) - latency) ** 2 for share, latency in samples)
