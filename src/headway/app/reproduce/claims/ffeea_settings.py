"""Link planning with estimated and with real fitness, at equal computing time and at equal generations."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.policies.shop.ffeea_decoder import Decoder
from headway.policies.shop.ffeea_exact import exact
from headway.policies.shop.ffeea_fitness import ExactFitness
from headway.policies.shop.ffeea_greedy import best_order
from headway.policies.shop.ffeea_nouns import LinkProblem, link_s
from headway.policies.shop.ffeea_satellite import FfeeaSatellite
from headway.sim.shop.ffeea_scenarios import scenario

HOUR_S = 3600.0
WAYS: Mapping[str, Mapping[str, bool]] = {
    "ffeea": {"fuzzy": True, "adaptive": True},
    "exact": {"fuzzy": False, "adaptive": True},
    "ffeea-fixed": {"fuzzy": True, "adaptive": False},
    "exact-fixed": {"fuzzy": False, "adaptive": False},
}
SCENARIOS_PER_SEED = 2
NEVER = 10**9


class ProcessorWatch:
    """Counts processor seconds, and so many more for each real evaluation.

    Parameters
    ----------
    budget_s : float
        Seconds until it is over.
    fitness : ExactFitness
        Who counts evaluations.
    extra_s : float
        What an evaluation is charged beyond what it takes here.
    """

    def __init__(self, budget_s: float, fitness: ExactFitness, extra_s: float = 0.0) -> None:
        self._budget_s = budget_s
        self._fitness = fitness
        self._charged_s = extra_s
        self._begin_s = time.process_time()

    @property
    def spent_s(self) -> float:
        """Seconds since it was made."""
        return time.process_time() - self._begin_s + self._charged_s * self._fitness.num_real

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self.spent_s >= self._budget_s


def problems(seed: int, quick: bool) -> list[LinkProblem]:
    """Draw the scenarios of a seed; a satellite has some 14 windows, a station 80."""
    num = 1 if quick else SCENARIOS_PER_SEED
    several = [SCENARIOS_PER_SEED * seed + n for n in range(num)]
    return [scenario(one, num_windows=800, num_satellites=57, num_stations=10) for one in several]


def equal_time(budget_s: float, is_slow: bool, seed: int, quick: bool) -> Numbers:
    """Return what each way finds in equal time, with a decoder in plain Python (charged) or a compiled one."""
    found: list[Numbers] = []
    for problem in problems(seed, quick):
        decoder = Decoder(problem)
        extra_s = charged_s(problem) if is_slow else 0.0
        ways = {way: _played(decoder, way, seed, NEVER, budget_s, extra_s) for way in WAYS}
        found.append({**ways, **_greedy(decoder)})
    return _mean(found)


def equal_generations(seed: int, quick: bool) -> Numbers:
    """Return what each way finds in 150 generations, and how many real evaluations that takes."""
    found: list[Numbers] = []
    for problem in problems(seed, quick):
        decoder = Decoder(problem)
        ways = {way: _played(decoder, way, seed, 40 if quick else 150, NEVER, 0.0) for way in WAYS}
        for numbers in ways.values():
            numbers["real_frac"] = numbers["num_real"] / ways["exact"]["num_real"]
        found.append(ways)
    return _mean(found)


def against_bound(seed: int, quick: bool) -> Numbers:
    """Return how near each way comes to what a constraint program proves to be the most, at 150 tasks."""
    problem = scenario(seed, num_windows=150, num_satellites=30, num_stations=4)
    decoder, policy = Decoder(problem), FfeeaSatellite()
    greedy = decoder.links(best_order(decoder))
    result = policy.search(decoder, watch=_watch(policy, decoder, NEVER), rng=np.random.default_rng(seed))
    proven = exact(problem, budget_s=4 if quick else 15, seed=seed, start=greedy)
    seconds = {"ffeea": result.fitness, "greedy": link_s(greedy), "cp-sat": proven.link_s}
    return {way: {"of_bound_frac": one / proven.bound_s} for way, one in seconds.items()}


def _watch(policy: FfeeaSatellite, decoder: Decoder, budget_s: float) -> ProcessorWatch:
    return ProcessorWatch(budget_s, policy.fitness(decoder))


def _played(
    decoder: Decoder, way: str, seed: int, generations: int, budget_s: float, extra_s: float
) -> dict[str, float]:
    how = WAYS[way]
    policy = FfeeaSatellite(
        fuzzy=how["fuzzy"], adaptive=how["adaptive"], generations=generations, patience=0, seeded=False
    )
    fitness = policy.fitness(decoder)
    fitness.warm()
    watch = ProcessorWatch(budget_s, fitness, extra_s)
    result = policy.search(decoder, watch=watch, rng=np.random.default_rng(seed), fitness=fitness)
    return {
        "link_hours": result.fitness / HOUR_S,
        "num_real": float(result.num_real),
        "num_fuzzy": float(result.num_fuzzy),
        "num_generations": float(result.num_generations),
    }


def _greedy(decoder: Decoder) -> Numbers:
    return {"greedy": {"link_hours": decoder.seconds(best_order(decoder)) / HOUR_S}}


def charged_s(problem: LinkProblem) -> float:
    """Return by how much an evaluation in plain Python takes longer than a compiled one."""
    order = np.random.default_rng(0).permutation(len(problem.tasks))
    spent = []
    for compiled in (False, True):
        decoder = Decoder(problem, compiled=compiled)
        decoder.seconds(order[:1])
        begin_s = time.process_time()
        for _ in range(2):
            decoder.seconds(order)
        spent.append((time.process_time() - begin_s) / 2)
    return max(spent[0] - spent[1], 0.0)


def _mean(several: list[Numbers]) -> Numbers:
    return {
        way: {metric: float(np.mean([one[way][metric] for one in several])) for metric in several[0][way]}
        for way in several[0]
    }
