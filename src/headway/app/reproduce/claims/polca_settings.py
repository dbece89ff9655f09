"""A row of servers that share their power: how its peaks and its slowdowns are measured.

Mixes, thresholds, delays and the peak of 79% are those of Patel et al. 2023 (arXiv 2308.12908).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.core.nouns import Id
from headway.core.scenario import Outcome
from headway.policies.serving.polca import Polca, Rule
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import RequestState
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.power_spec import PowerSpec
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.arrivals import Diurnal
from headway.traces.generate.lengths import LogNormal
from headway.traces.spec import TraceSpec

HOST_WATTS = 1500.0
"""What a server of eight A100 draws beside them, always. ASSUMPTION."""
PEAK_FRAC = 0.79
"""Of the budget, in a row without added servers: published of production."""
NO_LIMIT_WATTS = 1e9
RATE_PER_SERVER_S = 0.12
SWING_FRAC = 0.5
"""How far arrivals go above and below their mean: one day, in minutes. ASSUMPTION."""
RULES: dict[str, Rule] = {"two": "two-thresholds", "one-all": "one-for-all", "one-low": "one-for-low"}


class ByPriority:
    """Sends requests to the least loaded instance of the pool that their class is called by."""

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Return the least loaded instance of the pool."""
        own = [i for i in view.instances.values() if i.pool == state.request.slo_class]
        return min(own, key=lambda instance: instance.num_requests).id


def _lengths(prompt: Sequence[int], output: Sequence[int]) -> LogNormal:
    """Return lengths nearly all of which are in these spans: the ends are two standard deviations apart."""
    middle = [float(np.sqrt(low * high)) for low, high in (prompt, output)]
    sigma = [float(np.log(high / low) / 4) for low, high in (prompt, output)]
    return LogNormal(
        prompt_median=middle[0], prompt_sigma=sigma[0], output_median=middle[1], output_sigma=sigma[1],
        max_prompt_tokens=prompt[1], max_output_tokens=output[1],
    )  # fmt: skip


MIXES = (
    ((2048, 8192), (256, 512), "low", 0.25),
    ((512, 2048), (1024, 2048), "high", 0.25),
    ((2048, 4096), (128, 2048), "low", 0.25),
    ((2048, 4096), (128, 2048), "high", 0.25),
)
"""Summaries, search and chat: prompts, outputs, priority and share of the requests."""


@functools.lru_cache(maxsize=64)
def row(
    base: int, added_frac: float, budget_watts: float, duration_s: float, swing_frac: float = SWING_FRAC
) -> ServingScenario:
    """Return a row of BLOOM-176B on servers of eight A100, half of them for each priority."""
    num = round(base * (1 + added_frac))
    pools = {"low": num // 2, "high": num - num // 2}
    rate_per_s = num * RATE_PER_SERVER_S
    parts = [
        TraceSpec(
            lengths=_lengths(prompt, output), slo_classes={priority: 1.0},
            arrivals=Diurnal(rate_per_s=rate_per_s * share, period_s=duration_s, swing_frac=swing_frac),
            num_requests=round(rate_per_s * share * duration_s),
        )
        for prompt, output, priority, share in MIXES
    ]  # fmt: skip
    return ServingScenario(
        trace=TraceSpec(mix=tuple(parts)),
        model=ModelSpec(name="bloom-176b", context_tokens=16384),
        fleet=tuple(FleetSpec(pool=pool, instances=count, tensor_parallel=8) for pool, count in pools.items()),
        power=PowerSpec(budget_watts=budget_watts, host_watts=HOST_WATTS),
    )


def play(scenario: ServingScenario, seed: int, rule: Rule | None = None) -> Outcome:
    """Play a row with POLCA, one of its relatives, or nobody in the seat."""
    power = Polca(rule=rule) if rule is not None else None
    return scenario.play(Stack(batch=Vllm(), route=ByPriority(), power=power), seed=seed)


@functools.lru_cache(maxsize=8)
def budget_watts(base: int, duration_s: float, seed: int) -> float:
    """Return with what the row was provisioned, going by its peak without added servers and without a limit."""
    peak_frac = play(row(base, 0.0, NO_LIMIT_WATTS, duration_s), seed).report.numbers["peak_power_frac"]
    return peak_frac * NO_LIMIT_WATTS / PEAK_FRAC


def added(seed: int, quick: bool) -> Numbers:
    """Find out how many servers can be added before the power brake is pulled."""
    base, duration_s = _size(quick)
    watts = budget_watts(base, duration_s, seed)
    found: dict[str, dict[str, float]] = {"none": {}, "two": {}}
    for name, numbers in found.items():
        numbers["most_added_frac"] = 0.0
        for percent in (20, 40) if quick else (10, 20, 30, 40, 50):
            outcome = play(row(base, percent / 100, watts, duration_s), seed, RULES.get(name))
            brakes = numbers[f"num_brakes_at_{percent}"] = outcome.report.numbers["num_brakes"]
            numbers[f"peak_at_{percent}_frac"] = outcome.report.numbers["peak_power_frac"]
            if brakes:
                break
            numbers["most_added_frac"] = percent / 100
    return found


def slowdowns(swing_frac: float, seed: int, quick: bool) -> Numbers:
    """Measure how much longer requests take with 30% more servers than without a limit."""
    base, duration_s = _size(quick)
    # Provisioned for the same peak, whatever the swing.
    watts = budget_watts(base, duration_s, seed)
    free = play(row(base, 0.3, NO_LIMIT_WATTS, duration_s, swing_frac), seed)
    found = {name: dict(bounds) for name, bounds in PROMISED.items()}
    for name in ("none", *RULES):
        outcome = play(row(base, 0.3, watts, duration_s, swing_frac), seed, RULES.get(name))
        numbers = outcome.report.numbers
        found[name] = {name: numbers[name] for name in ("num_brakes", "peak_power_frac", "mean_power_frac")}
        for priority in ("high", "low"):
            for percent in (50, 99):
                now_s, before_s = (_e2e_s(played, priority, percent) for played in (outcome, free))
                found[name][f"{priority}_p{percent}_slowdown_frac"] = now_s / before_s - 1
    return found


PROMISED = {
    "promised": {
        "high_p50_slowdown_frac": 0.01,
        "high_p99_slowdown_frac": 0.05,
        "low_p50_slowdown_frac": 0.05,
        "low_p99_slowdown_frac": 0.5,
        "num_brakes": 0.5,
    }
}
"""What priorities are promised; half a brake is none."""


def _size(quick: bool) -> tuple[int, float]:
    return (6, 240.0) if quick else (10, 600.0)


def _e2e_s(outcome: Outcome, priority: str, percent: int) -> float:
    works = outcome.works
    return float(np.percentile(works["e2e_s"][works["slo_class"] == priority], percent))
