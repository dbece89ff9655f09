"""What teaching a mechanism takes and gives, whatever its way of learning."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

import headway
from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.numerics import nets
from headway.numerics.nets import NumpyWeights


class TrainNews(msgspec.Struct, frozen=True):
    """How a training goes.

    Parameters
    ----------
    done_frac : float
        Which share of the budget is spent, in [0, 1].
    numbers : dict of str to float
        For example ``"reward"``, ``"valid"``, ``"entropy"``.
    """

    done_frac: float
    numbers: dict[str, float]


class TrainSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody who teaches is told.

    Parameters
    ----------
    seed : int
        Of all that is drawn.
    budget_s : float
        Processor seconds of this process and its children, > 0.
    tell : callable of (TrainNews)
        Told now and then.
    start : dict of str to array or None
        Weights to go on from; None draws new ones.
    """

    seed: int
    budget_s: float
    tell: Callable[[TrainNews], None] = lambda _: None
    start: NumpyWeights | None = None


Train: TypeAlias = Callable[[TrainSpec], NumpyWeights]
"""Teaches within the budget, and returns the weights that did best on what was not trained on."""


class Spending:
    """A budget of processor seconds, that of children included.

    Parameters
    ----------
    budget_s : float
        Seconds until it is over, > 0.
    """

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s
        self._start_s = cpu_s()

    @property
    def done_frac(self) -> float:
        """Which share is spent, in [0, 1]."""
        return min((cpu_s() - self._start_s) / self._budget_s, 1.0)


def cpu_s() -> float:
    """Return the processor seconds of this process and of its children that have ended."""
    import os

    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def trainable() -> list[str]:
    """Return the ids of all mechanisms that can be taught."""
    return [row.id for row in catalogue.rows() if row.train]


def train(id: str, spec: TrainSpec, out: Path) -> dict[str, float | int | str]:
    """Teach a mechanism and keep what it has learnt.

    Parameters
    ----------
    id : str
        Of a mechanism that learns in advance.
    spec : TrainSpec
        Seed and budget.
    out : Path
        Where the weights go, as ``.npz``.

    Returns
    -------
    dict
        What the file says of itself.

    Raises
    ------
    UnknownName, ConfigError
        When there is no such mechanism, or it does not learn in advance.
    """
    row = catalogue.find(id)
    if not row.train:
        raise ConfigError(f"train: {id} must learn in advance, it does not. There are: {', '.join(trainable())}.")
    start_s = cpu_s()
    weights = catalogue.resolve(row.train)(spec)
    about: dict[str, float | int | str] = {
        "id": id,
        "seed": spec.seed,
        "budget_s": spec.budget_s,
        "cpu_s": round(cpu_s() - start_s, 1),
        "num_weights": sum(array.size for array in weights.values()),
        "headway": headway.__version__,
    }
    if "text" in weights:  # what was learnt can be read
        about["text"] = str(weights["text"])
    nets.save(out, weights, about)
    return about
