"""A decision as a question, so that a network, a trainer or anybody else can answer it.

A mechanism that learns writes its decisions as a generator: it yields a `Question` wherever its network is to choose,
and is sent the index of what was chosen. The same generator is driven by the trained network (`answered`), by a trainer
that draws and remembers, and by a gymnasium environment in which an outside agent acts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Struct

T = TypeVar("T")

Features: TypeAlias = dict[str, npt.NDArray[Any]]
"""What a network sees, by name; each array keeps its shape over all questions of one mechanism in one setting."""


class Question(Struct, frozen=True):
    """A choice among numbered actions.

    Parameters
    ----------
    features : dict of str to array
        What there is to know.
    legal : array of bool, [actions]
        Which may be chosen; at least one.
    reward : float
        What has come in since the question before.
    """

    features: Features
    legal: npt.NDArray[np.bool_]
    reward: float = 0.0


Asking: TypeAlias = Generator[Question, int, T]
"""Yields questions, is sent the index of a legal action for each, and returns what came of them."""


def answered(asking: Asking[T], choose: Callable[[Question], int]) -> T:
    """Answer every question of a generator, and return what it returns.

    Parameters
    ----------
    asking : generator
        Who asks.
    choose : callable of (Question) -> int
        Returns the index of a legal action.

    Examples
    --------
    >>> def coin():
    ...     heads = yield Question({}, np.array([True, True]))
    ...     return "heads" if heads else "tails"
    >>> answered(coin(), lambda question: 1)
    'heads'
    """
    try:
        question = next(asking)
        while True:
            question = asking.send(choose(question))
    except StopIteration as end:
        result: T = end.value
        return result
