"""The settings in which predicted lengths are held against each other, and how their effects are measured."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.policies.serving.castillo import Castillo, Kind
from headway.policies.serving.composed import Composed
from headway.policies.serving.nouns import Request
from headway.policies.serving.reserve import Reserve
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import Order
from headway.policies.serving.shortest_first import ShortestFirst
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import RequestState
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import Castillo as Lengths
from headway.traces.spec import TraceSpec

MODEL = "llama-3.1-8b"
WITHIN = 0.25
KINDS: tuple[Kind, ...] = ("oracle", "oracle-mean", "noisy", "bucket")
METRICS = ("mean_e2e_s", "p99_e2e_s", "num_preemptions", "kv_used_frac", "mean_queue_s", "requests_per_s")


@functools.lru_cache(maxsize=32)
def scenario(lengths: Lengths, num: int, rate_per_s: float, kv_blocks: int | None) -> ServingScenario:
    """Return requests with such lengths on one A100 with Llama 3.1 8B, and so much memory."""
    return ServingScenario(
        trace=TraceSpec(lengths=lengths, num_requests=num, rate_per_s=rate_per_s),
        model=ModelSpec(name=MODEL),
        fleet=(FleetSpec(accelerator="a100-80gb-sxm", kv_blocks=kv_blocks),),
    )


def play(
    where: ServingScenario,
    seed: int,
    kind: Kind = "none",
    order: Order | None = None,
    *,
    max_seqs: int = 256,
    within: float = WITHIN,
) -> dict[str, float]:
    """Play chunked prefill with an order and a predictor of lengths."""
    batch = SarathiServe(token_budget=2048, max_seqs=max_seqs)
    stack = Stack(batch=batch, order=order, predict=Castillo(kind=kind, within_sigma=within))
    numbers = where.play(stack, seed=seed).report.numbers
    return {metric: numbers[metric] for metric in METRICS}


CHAT = Lengths(mean_tokens=350, within_sigma=WITHIN, endless_frac=0.0)
SLOTS = 32
"""So many run at once where the order counts: more would start at once, and there would be nobody to choose from."""
RATE_PER_S = 24.0
"""Several times what these slots carry, so that a queue builds up."""


def ranked(within: float, seed: int, quick: bool) -> Numbers:
    """Measure shortest first by predictors of falling quality, and first come, first served."""
    lengths = Lengths(mean_tokens=350, within_sigma=within, endless_frac=0.0)
    where = scenario(lengths, 150 if quick else 500, RATE_PER_S, None)
    found = {"fcfs": play(where, seed, max_seqs=SLOTS)}
    for kind in KINDS:
        order = ShortestFirst(ageing_tokens_per_s=0.0)
        found[kind] = play(where, seed, kind, order, max_seqs=SLOTS, within=within)
    return found


BY: Mapping[str, tuple[str, float]] = {
    "p10": ("quantile", 0.1), "mean": ("mean", 0.5), "p90": ("quantile", 0.9), "p99": ("quantile", 0.99),
    "max": ("max", 0.5),
}  # fmt: skip


def reserved(seed: int, quick: bool) -> Numbers:
    """Measure memory reserved by quantiles, by the mean, and by all that was asked for, in little memory."""
    where = scenario(CHAT, 150 if quick else 300, 4.0, 500)
    found = {"none": play(where, seed)}
    for name, (by, quantile) in BY.items():
        found[name] = play(where, seed, "quantile", Reserve(by=by, quantile=quantile))  # type: ignore[arg-type]
    return found


ENDLESS = {"0%": 0.0, "1%": 0.01}


def endless(seed: int, quick: bool) -> Numbers:
    """Measure what one request in a hundred that never ends does to the others."""
    found = {}
    for name, frac in ENDLESS.items():
        lengths = Lengths(mean_tokens=350, within_sigma=WITHIN, endless_frac=frac)
        found[name] = play(scenario(lengths, 300 if quick else 600, 4.0, 1500), seed)
    return found


SPREADS = {"narrow": 0.1, "wide": 1.2}


def spread(seed: int, quick: bool) -> Numbers:
    """Measure first come and shortest first where lengths hardly differ, and where they differ much."""
    found: dict[str, dict[str, float]] = {"fcfs": {}, "sjf": {}}
    for name, sigma in SPREADS.items():
        lengths = Lengths(mean_tokens=350, between_sigma=sigma, within_sigma=WITHIN, endless_frac=0.0)
        where = scenario(lengths, 150 if quick else 400, RATE_PER_S, None)
        order = ShortestFirst(ageing_tokens_per_s=0.0)
        found["fcfs"] |= _named(name, play(where, seed, max_seqs=SLOTS))
        found["sjf"] |= _named(name, play(where, seed, "oracle-mean", order, max_seqs=SLOTS))
    return found


def _named(name: str, numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}_{metric}": value for metric, value in numbers.items()}


SLOS = "serving/slos-serve"
USERS: Mapping[str, Mapping[str, str]] = {
    "slos": {"admit": SLOS, "route": SLOS, "order": SLOS, "batch": SLOS, "evict": SLOS},
    "nanoflow": {"batch": "serving/nanoflow"},
    "reserve": {"order": "serving/reserve"},
}
"""Policies that use lengths, by the seats of a stack."""
BY_USERS: tuple[Kind, ...] = ("none", "quantile", "oracle-mean", "oracle")


@functools.lru_cache(maxsize=4)
def chat_in_little_memory(num: int) -> ServingScenario:
    """Return chat requests with promises on one A100 of which 48,000 tokens of KV memory are left."""
    return ServingScenario(
        trace=TraceSpec(source="azure-conv", max_requests=num, window="random", rate_per_s=6.0),
        model=ModelSpec(name=MODEL),
        fleet=(FleetSpec(accelerator="a100-80gb-sxm", kv_blocks=3000),),
        slo=(SloSpec(ttft_s=1.0, tpot_s=0.05),),
    )


def used(seed: int, quick: bool) -> Numbers:
    """Measure policies that use lengths with predictors of different quality."""
    where = chat_in_little_memory(150 if quick else 300)
    found: dict[str, dict[str, float]] = {}
    for kind in BY_USERS:
        found[kind] = {}
        for name, seats in USERS.items():
            policy = Composed(**seats, predict={"id": "serving/castillo", "kind": kind})
            found[kind][f"{name}_goodput_frac"] = where.play(policy, seed=seed).report.numbers["goodput_frac"]
    return found


LEARNED: tuple[Kind, ...] = ("oracle-mean", "noisy", "bucket", "learned", "quantile", "none")


def predicted(seed: int, quick: bool) -> Numbers:
    """Measure how good predictions are, by themselves: two clients whose prompts are answered at different length."""
    rng = np.random.default_rng(seed)
    num = 400 if quick else 2000
    brief, long = (Lengths(mean_tokens=mean, within_sigma=WITHIN, endless_frac=0.0) for mean in (120.0, 700.0))
    truth = {
        row: (_request(row, int(prompt), name), int(tokens))
        for name, lengths, first in (("brief", brief, 0), ("long", long, 1))
        for row, prompt, tokens in zip(range(first, 2 * num, 2), *lengths.draw(num, rng), strict=True)
    }
    in_turn = {str(row): truth[row] for row in sorted(truth)}
    return {kind: _quality(kind, in_turn, seed) for kind in LEARNED}


def _request(row: int, prompt_tokens: int, tenant: str) -> Request:
    return Request(id=str(row), arrival_s=0.0, prompt_tokens=prompt_tokens, max_tokens=15_000, tenant=tenant)


def _quality(kind: Kind, truth: Mapping[str, tuple[Request, int]], seed: int) -> dict[str, float]:
    predict = Castillo(kind=kind, within_sigma=WITHIN)
    predict.reset(np.random.default_rng([seed, 1]))
    predict.foretell(lambda name: truth[name][1])
    rows = []
    for request, tokens in truth.values():
        state = RequestState(request)
        asked = [predict.output_tokens(state, quantile) for quantile in (None, 0.5, 0.9, 0.99)]
        rows.append((tokens, *asked))
        predict.learn(request, tokens)
    # Without the first, of which nothing is known.
    true, mean, middle, p90, p99 = np.array(rows[len(rows) // 10 :], float).T
    return {
        "off_tokens": float(np.abs(mean - true).mean()),
        "off_frac": float(np.abs(middle - true).mean() / true.mean()),
        "below_p90_frac": float((true <= p90).mean()),
        "rank_correlation": _rank_correlation(true, mean),
        "reserved_at_p99": float(p99.sum() / true.sum()),
    }


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation, 0 where one of them is all the same."""
    ranks = [np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float) for values in (one, other)]
    if np.ptp(other) == 0:
        return 0.0
    found = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    return 0.0 if math.isnan(found) else found
