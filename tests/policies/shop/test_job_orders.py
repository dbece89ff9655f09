"""The search over orders of jobs."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from headway.numerics.stopwatch import Stopwatch
from headway.policies.shop.incumbent import Incumbent
from headway.policies.shop.job_orders import search_orders
from headway.sim.shop.instances.generate import random_job_shop


class Turns(Stopwatch):
    """Is over after so many looks."""

    def __init__(self, num: int) -> None:
        super().__init__(60.0)
        self._left = num

    @property
    def is_over(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_a_second_search_goes_on_from_what_the_first_has_found() -> None:
    gains = []
    for seed in range(6):
        problem = replace(random_job_shop(12, 5, np.random.default_rng(seed)), blocking=True)
        best, rng = Incumbent(problem, "test", Stopwatch(60.0)), np.random.default_rng(seed)
        search_orders(best, rng, Turns(120))
        first = best.objective or 0.0
        search_orders(best, rng, Turns(120))
        gains.append(first - (best.objective or 0.0))
    assert sum(gain > 0 for gain in gains) >= 4
