"""How much intelligence a watt and a joule buy: the metrics of a model on an accelerator, over queries.

Saad-Falcon et al. 2025 (arXiv 2511.07885) define them: ratios of means, not means of ratios.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds

Values = Sequence[float] | np.ndarray


def accuracy_per_watt(accuracy: Values, watts: Values) -> float:
    """Return APW, the mean accuracy over the mean power.

    Parameters
    ----------
    accuracy : sequence of float
        By query: 1 when it was answered correctly, else 0.
    watts : sequence of float
        By query: the mean power while it was answered, in W, > 0.

    Raises
    ------
    ConfigError
        When there are no queries, or not as many of both.

    Examples
    --------
    >>> accuracy_per_watt([1, 0], [40.0, 60.0])
    0.01
    """
    return _mean(accuracy, watts) / _mean(watts, accuracy)


def accuracy_per_joule(accuracy: Values, watts: Values, e2e_s: Sequence[Seconds] | np.ndarray) -> float:
    """Return APJ, the mean accuracy over the mean energy; `e2e_s` is how long each query took, in seconds, > 0.

    Examples
    --------
    >>> accuracy_per_joule([1, 0], [40.0, 60.0], [1.0, 1.0])
    0.01
    """
    return accuracy_per_watt(accuracy, _joules(watts, e2e_s))


def perplexity_per_watt(perplexity: Values, watts: Values) -> float:
    """Return PPW, one over the product of mean perplexity (by query, >= 1) and mean power.

    Examples
    --------
    >>> perplexity_per_watt([2.0], [50.0])
    0.01
    """
    return 1.0 / (_mean(perplexity, watts) * _mean(watts, perplexity))


def perplexity_per_joule(perplexity: Values, watts: Values, e2e_s: Sequence[Seconds] | np.ndarray) -> float:
    """Return PPJ, one over the product of mean perplexity and mean energy.

    Examples
    --------
    >>> perplexity_per_joule([2.0], [50.0], [0.5])
    0.02
    """
    return perplexity_per_watt(perplexity, _joules(watts, e2e_s))


def _joules(watts: Values, e2e_s: Values) -> np.ndarray:
    _mean(watts, e2e_s)
    joules: np.ndarray = np.asarray(watts, float) * np.asarray(e2e_s, float)
    return joules


def _mean(values: Values, others: Values) -> float:
    if not len(values) or len(values) != len(others):
        raise ConfigError(
            f"metrics: must have one number of each kind per query, got {len(values)} and {len(others)}. Give as many."
        )
    return float(np.mean(np.asarray(values, float)))
