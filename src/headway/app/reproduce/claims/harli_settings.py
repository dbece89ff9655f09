"""The settings of Harli's evaluation as far as they are known, and how its numbers are measured here.

Known are the models, that TPOT is what is promised, and that traces are real. The accelerator, the promise (40 ms is of
the right class), rates, microbatches and the systems compared are not; those that the specification of the mechanism
lists stand in for them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from headway.app.reproduce.claim import Numbers
from headway.core import catalogue
from headway.core.nouns import Seconds
from headway.core.policy import Policy
from headway.core.report import Report
from headway.policies.serving.seats import ServingView
from headway.policies.tuning.beside import Beside
from headway.policies.tuning.harli import Harli
from headway.policies.tuning.lent_memory import LentMemory
from headway.policies.tuning.wrap import serving_policy
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.tune_spec import TuneJobSpec
from headway.traces.spec import TraceSpec

TPOT_S: Seconds = 0.04
TTFT_S: Seconds = 1.0
ATTAIN_FRAC = 0.9
RATES: dict[str, float] = {"low": 1.0, "mid": 2.5, "high": 4.0}
"""Requests per second and accelerator; serving alone keeps 90% of its promises up to about 5.3."""
SPAN_S, QUICK_SPAN_S = 60.0, 20.0
STATIC_SHARE = 0.8
"""Of 0.6, 0.7, 0.8 and 0.9 the least for serving that the largest batches can do with: the highest rate is kept."""
BEST_SHARE = {"low": 0.5, "mid": 0.6, "high": 0.8}
"""The same for each rate by itself, from 0.5 on."""
CO_SERVE_BUDGET = 192
"""The largest of 128, 192, 256, 320 tokens with which the highest rate keeps its promises."""
TPOTS_S = (0.025, 0.03, 0.04, 0.06, 0.08)
FEW_BLOCKS = 3000
"""A memory of 48,000 tokens instead of the 446,000 or so that there is room for; a microbatch takes a third of it."""
BASELINES = ("static-split", "static-best", "co-serve", "dedicated", "when-idle", "unmanaged")

CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "alone": ("serving/sarathi", {}),
    "harli": ("tuning/harli", {}),
    "static-split": ("tuning/static-split", {"share": STATIC_SHARE}),
    "co-serve": ("tuning/co-serve", {"token_budget": CO_SERVE_BUDGET}),
    "dedicated": ("tuning/dedicated", {}),
    "when-idle": ("tuning/when-idle", {}),
    "unmanaged": ("tuning/unmanaged", {}),
    "reactive": ("tuning/reactive", {}),
}


def policy_of(who: str, rate: str) -> Policy[ServingView]:
    """Make a contestant; one of them is told the rate beforehand."""
    if who == "static-best":
        return _built("tuning/static-split", {"share": BEST_SHARE[rate]})
    return _built(*CONTESTANTS[who])


def _built(id: str, params: dict[str, Any]) -> Policy[ServingView]:
    made: Policy[ServingView] = catalogue.build(id, params)
    return made


@functools.lru_cache(maxsize=64)
def scenario(
    per_s: float, span_s: Seconds, num: int = 1, tpot_s: Seconds = TPOT_S, kv_blocks: int | None = None
) -> ServingScenario:
    """Return conversations as on Azure, so many per second and accelerator, on `num` A100 with a job to train."""
    return ServingScenario(
        trace=TraceSpec(
            source="azure-conv", max_requests=round(per_s * span_s * num), window="random", rate_per_s=per_s * num
        ),
        model=ModelSpec(name="llama-3.1-8b"),
        fleet=(FleetSpec(accelerator="a100-80gb-sxm", instances=num, kv_blocks=kv_blocks),),
        slo=(SloSpec(ttft_s=TTFT_S, tpot_s=tpot_s, quantile=ATTAIN_FRAC),),
        tune=(TuneJobSpec(),),
    )


def play(policy: Policy[ServingView], seed: int, quick: bool, per_s: float, **where: Any) -> Report:
    """Play a policy and return its report."""
    made = scenario(per_s, QUICK_SPAN_S if quick else SPAN_S, **where)
    return made.play(policy, seed=seed).report


def felt(report: Report, num: int = 1, tpot_s: Seconds = TPOT_S) -> dict[str, float]:
    """Return what is told of a run: fine-tuning per accelerator, and how promises were kept."""
    numbers = report.numbers
    return {
        "tune_tokens_per_s": numbers.get("tune_tokens_per_s", 0.0) / num,
        "good_frac": numbers["goodput_frac"],
        "p99_tpot_of_promise": numbers["p99_tpot_s"] / tpot_s,
        "p99_ttft_s": numbers["p99_ttft_s"],
    }


def gains(baselines: Sequence[str], seed: int, quick: bool) -> Numbers:
    """Measure Harli and some others at every rate: what they train, and how many times theirs Harli trains.

    Rates at which another does not keep its promises do not count for that ratio.
    """
    rates = ("low", "high") if quick else tuple(RATES)
    found = {who: {rate: _at(who, rate, seed, quick) for rate in rates} for who in ("harli", *baselines)}
    return {who: _told(found["harli"], by_rate) for who, by_rate in found.items()}


def _at(who: str, rate: str, seed: int, quick: bool) -> dict[str, float]:
    num = 2 if who == "dedicated" else 1
    return felt(play(policy_of(who, rate), seed, quick, RATES[rate], num=num), num)


def _told(harli: Mapping[str, Mapping[str, float]], own: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    told = {f"{rate}_tune_tokens_per_s": at["tune_tokens_per_s"] for rate, at in own.items()}
    told |= {f"{rate}_good_frac": at["good_frac"] for rate, at in own.items()}
    safe = [rate for rate, at in own.items() if at["good_frac"] >= ATTAIN_FRAC and at["tune_tokens_per_s"] > 0]
    times = [harli[rate]["tune_tokens_per_s"] / own[rate]["tune_tokens_per_s"] for rate in safe]
    if times:
        told |= {"harli_times": sum(times) / len(times), "most_harli_times": max(times)}
    if {"low", "high"} <= set(safe):
        told["low_over_high_times"] = times[0] / times[-1]
    return told


def targets(seed: int, quick: bool) -> Numbers:
    """Measure what Harli trains within promises of different tightness."""
    return {
        f"tpot-{round(1000 * tpot_s)}": felt(
            play(policy_of("harli", ""), seed, quick, 2.0, tpot_s=tpot_s), tpot_s=tpot_s
        )
        for tpot_s in TPOTS_S
    }


def promises(seed: int, quick: bool) -> Numbers:
    """Measure the tail of the time per token under the bursts of the trace."""
    who = ("alone", "harli", "static-split", "unmanaged")
    found = {name: felt(play(policy_of(name, ""), seed, quick, 3.0)) for name in who}
    return found | {"promise": {"p99_tpot_of_promise": 1.0}}


def predictor(seed: int, quick: bool) -> Numbers:
    """Compare Harli with what looks back instead of ahead."""
    found = {
        name: felt(play(policy_of(name, ""), seed, quick, RATES["high"])) for name in ("alone", "harli", "reactive")
    }
    return {who: told | {"missed_frac": 1.0 - told["good_frac"]} for who, told in found.items()}


def lending(seed: int, quick: bool) -> Numbers:
    """Compare lent memory with memory that is set aside, and with memory that only a rather empty pool spares."""
    memories = {
        "harli": LentMemory(),
        "set-aside": LentMemory(low_free_frac=0.0, high_free_frac=0.0, gives_back=False),
        "above-30": LentMemory(low_free_frac=0.30, high_free_frac=0.35),
    }
    found: dict[str, dict[str, float]] = {}
    for who, memory in memories.items():
        policy = Beside(policy=serving_policy("serving/sarathi"), share=Harli(), memory=memory)
        report = play(policy, seed, quick, RATES["high"], kv_blocks=FEW_BLOCKS)
        found[who] = felt(report) | {"num_dropped": report.numbers["tune_dropped"]}
    return found


def errors(seed: int, quick: bool) -> Numbers:
    """Measure how far the predictor is off at every rate, on average; the first predictions count like the last."""
    rates = ("mid",) if quick else tuple(RATES)
    told = dict.fromkeys(("solo", "co-run", "unit"), 0.0)
    for rate in rates:
        share = Harli()
        play(Beside(policy=serving_policy("serving/sarathi"), share=share), seed, quick, RATES[rate])
        (found,) = share.predictors.values()
        for name, caution in (("solo", found.solo_error), ("co-run", found.error), ("unit", found.unit_error)):
            told[name] += caution.mape / len(rates)
    wanted = {"solo-wanted": 0.05, "co-run-wanted": 0.10}
    return {name: {"off_frac": value} for name, value in (told | wanted).items()}
