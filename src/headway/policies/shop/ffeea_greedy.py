"""Orders of tasks by simple rules: what an evolutionary search begins with, and is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.policies.shop.ffeea_decoder import Decoder
from headway.policies.shop.ffeea_nouns import LinkProblem


def orders(problem: LinkProblem) -> list[NDArray[np.int64]]:
    """Return the tasks by first window, by last chance, by fewest windows, by longest and by shortest link."""
    keys = (
        [min(window.start_s for window in task.windows) for task in problem.tasks],
        [max(window.end_s for window in task.windows) for task in problem.tasks],
        [sum(window.end_s - window.start_s for window in task.windows) / task.max_s for task in problem.tasks],
        [-task.max_s for task in problem.tasks],
        [task.max_s for task in problem.tasks],
    )
    return [np.argsort(np.array(key, dtype=np.float64), kind="stable") for key in keys]


def best_order(decoder: Decoder) -> NDArray[np.int64]:
    """Return the one of these orders whose links last longest."""
    return max(orders(decoder.problem), key=decoder.seconds)
