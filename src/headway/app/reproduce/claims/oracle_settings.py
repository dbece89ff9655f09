"""How far policies are from the best possible: the rates that they carry, held against a bound on any policy's."""

from __future__ import annotations

import functools
from collections.abc import Callable

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.serving import HIGHEST_LOAD
from headway.app.studies.capacity import largest_load
from headway.app.studies.trial import Verdict
from headway.core import catalogue
from headway.sim.serving.bound.scenario import best_possible
from headway.sim.serving.recipe import ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.spec import TraceSpec

RATE_PER_S = 4.0
POLICIES = ("oracle", "slos-serve", "sarathi", "vllm-v1", "vllm")
START = 2.0
"""The load at which searches begin."""
OVERLOAD = 2.5
"""About twice what is carried without regard to promises."""


@functools.lru_cache(maxsize=4)
def chat(num: int) -> ServingScenario:
    """Return chat requests on one A100 with Llama 3.1 8B, promised a first token in 1 s and the others every 50 ms."""
    return ServingScenario(
        trace=TraceSpec(source="azure-conv", max_requests=num, window="random", rate_per_s=RATE_PER_S),
        model=ModelSpec(name="llama-3.1-8b"),
        slo=(SloSpec(ttft_s=1.0, tpot_s=0.05),),
    )


def gap(seed: int, quick: bool) -> Numbers:
    """Measure the rates at which shares of the requests are served as promised, and the share in overload."""
    where = chat(100 if quick else 400)
    tolerance_frac = 0.1 if quick else 0.06

    def share_of(name: str) -> Callable[[float], float]:
        @functools.cache
        def share(load: float) -> float:
            policy = catalogue.build(f"serving/{name}")
            return where.play(policy, seed=seed, load=load).report.numbers["goodput_frac"]

        return share

    @functools.cache
    def possible(load: float) -> float:
        return best_possible(where, seed=seed, load=load).good_frac

    found = {name: _numbers(share_of(name), tolerance_frac) for name in POLICIES}
    # The smallest load at which it is known to be impossible: no policy carries more.
    found["possible"] = _numbers(possible, tolerance_frac, known_to_fail=True)
    for numbers in found.values():
        for metric in [*numbers]:
            numbers[f"of_possible_{metric}"] = numbers[metric] / found["possible"][metric]
    return found


def _numbers(
    share: Callable[[float], float], tolerance_frac: float, *, known_to_fail: bool = False
) -> dict[str, float]:
    return {
        "overload_frac": share(OVERLOAD),
        "rate_at_90_per_s": _rate_per_s(share, 0.9, tolerance_frac, known_to_fail),
    }


def _rate_per_s(share: Callable[[float], float], least: float, tolerance_frac: float, known_to_fail: bool) -> float:
    """Return the largest rate at which so large a share is good; of a bound, the smallest at which none can be."""

    def attempt(load: float) -> Verdict:
        good_frac = share(load)
        return Verdict(
            passed=good_frac >= least, good_frac=good_frac, whole=True, num_runs=1, rate_per_s=load * RATE_PER_S,
            numbers={}, wall_s=0.0,
        )  # fmt: skip

    found = largest_load(attempt, start=START, max_load=HIGHEST_LOAD, tolerance_frac=tolerance_frac)
    load = found.fails_at if known_to_fail else found.load
    return (load or 0.0) * RATE_PER_S
