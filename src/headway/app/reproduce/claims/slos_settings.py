"""The settings of SLOs-Serve's evaluation, and how its numbers are measured here.

Objectives, scenarios, model and hardware are those of Chen et al. 2025 (arXiv 2504.08784); lengths and arrivals are
those of the shipped traces nearest to its data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.slos_moments import times_s
from headway.app.studies.capacity import largest_load
from headway.app.studies.trial import Verdict
from headway.core.drivers import simulate
from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.core.session import Session
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestFinished
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import Route, ServingView
from headway.policies.serving.slos_serve import SlosServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.vllm import Vllm
from headway.sim.serving.cost.replica import Replica, replica
from headway.sim.serving.price import BatchShape, Chunk
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable

CONTEXT_TOKENS = 2048
ACCEPTANCE_FRAC = 0.7
DRAFT_S: Seconds = 1e-3
GPUS = 2
MOST_VIOLATIONS_FRAC = 0.1
TTFT_TIMES = {"tight": 3.0, "loose": 5.0}
TPOT_S = {"tight": 0.05, "loose": 0.1}


@dataclass(frozen=True)
class Application:
    """What one kind of requests is like: how long they are, and how tight their objectives are."""

    lengths: str
    prefill: str
    decode: str


APPLICATIONS = {
    "chat": Application("sharegpt", "loose", "loose"),
    "coder": Application("functions", "loose", "tight"),
    "summarizer": Application("arxiv-summarization", "tight", "loose"),
}
FUNCTIONS = {"prompt": (150, 0.4), "output": (120, 0.6)}
"""Median and shape of log-normal lengths: an assumption about functions to be completed, of which none are shipped."""
SCENARIOS: dict[str, tuple[str, ...]] = {name: (name,) for name in APPLICATIONS} | {"mixed": tuple(APPLICATIONS)}
BURSTY = ("coder",)


class TrueLengths:
    """Knows how long outputs will be, as every system of the evaluation does."""

    def __init__(self) -> None:
        self._ask: Callable[[Id], int] | None = None

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def foretell(self, ask: Callable[[Id], int]) -> None:
        """Keep the function that tells."""
        self._ask = ask

    def output_tokens(self, state: RequestState, quantile: float | None = None) -> float:  # noqa: ARG002 (nothing is uncertain)
        """Return the true number."""
        assert self._ask is not None
        return max(self._ask(state.id), state.output_tokens + 1)


class RoundRobin:
    """Sends requests to the instances in turn."""

    def __init__(self) -> None:
        self._turn = 0

    def reset(self, rng: np.random.Generator) -> None:  # noqa: ARG002 (nothing is random)
        """Begin with the first again."""
        self._turn = 0

    def pick(self, state: RequestState, view: ServingView) -> Id:  # noqa: ARG002 (all are alike)
        """Return the next."""
        self._turn += 1
        return list(view.instances)[self._turn % len(view.instances)]


CONTESTANTS: dict[str, Callable[[], Stack]] = {
    "slos-serve": lambda: _stack(SlosServe()),
    "no-speculation": lambda: _stack(SlosServe(speculate=False)),
    "no-deferral": lambda: _stack(SlosServe(surplus="keep")),
    "round-robin": lambda: _routed(SlosServe(), RoundRobin()),
    "sarathi": lambda: Stack(batch=SarathiServe(token_budget=512)),
    "vllm": lambda: Stack(batch=Vllm(max_batched_tokens=CONTEXT_TOKENS)),
}


def _routed(seat: SlosServe, route: Route) -> Stack:
    return Stack(batch=seat, admit=seat, route=route, order=seat, evict=seat, predict=TrueLengths())


def _stack(seat: SlosServe) -> Stack:
    return Stack(batch=seat, admit=seat, route=seat, order=seat, evict=seat, predict=TrueLengths())


@functools.cache
def machine() -> Replica:
    """Return what every instance is: OPT-13B on two A100-40GB."""
    return replica("opt-13b", "a100-40gb-sxm", tensor_parallel=GPUS)


@functools.cache
def requests(scenario: str, num: int, seed: int, replicas: int = 1) -> tuple[TrueRequest, ...]:
    """Return the requests of a scenario, 1 per second for each replica: so many parts of the trace at once."""
    if replicas > 1:
        parts = [true for part in range(replicas) for true in requests(scenario, num, part_of(seed, part))]
        return tuple(
            _renamed(true, str(number))
            for number, true in enumerate(sorted(parts, key=lambda true: true.request.arrival_s))
        )
    rng = np.random.default_rng([seed, 11])
    names = SCENARIOS[scenario]
    kinds = [names[index] for index in rng.integers(len(names), size=num)]
    at_s = _bursts(num, rng) if scenario in BURSTY else np.cumsum(rng.exponential(size=num))
    lengths = {name: _lengths(APPLICATIONS[name].lengths, num, rng) for name in names}
    return tuple(
        _request(f"{number}", float(at_s[number]), APPLICATIONS[kind], *lengths[kind][number])
        for number, kind in enumerate(kinds)
    )


def part_of(seed: int, part: int) -> int:
    """Return the seed of the requests that one of several instances is sent by itself."""
    return 1000 + 100 * seed + part


def _renamed(true: TrueRequest, id: str) -> TrueRequest:
    return msgspec.structs.replace(true, request=msgspec.structs.replace(true.request, id=id))


def _bursts(num: int, rng: np.random.Generator) -> np.ndarray:
    """Return the recorded arrivals of the code trace from a place of its own, stretched to 1 per second."""
    table = _table("azure-code")
    first = int(rng.integers(len(table) - num - 1))
    at_s = table.arrival_s[first : first + num + 1]
    return np.asarray((at_s[1:] - at_s[0]) * num / (at_s[-1] - at_s[0]))


@functools.cache
def _table(source: str) -> RequestTable:
    return TraceSpec(source=source).draw(0, 1.0)


def _lengths(source: str, num: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    if source == "functions":
        prompts, outputs = (
            rng.lognormal(np.log(median), shape, num).round().astype(int) for median, shape in FUNCTIONS.values()
        )
    else:
        table = _table(source)
        rows = rng.integers(len(table), size=num)
        prompts, outputs = table.prompt_tokens[rows], table.output_tokens[rows]
    outputs = np.clip(outputs, 1, CONTEXT_TOKENS // 2)
    prompts = np.clip(prompts, 1, CONTEXT_TOKENS - outputs)
    return list(zip(prompts.tolist(), outputs.tolist(), strict=True))


def _request(id: str, at_s: Seconds, kind: Application, prompt: int, output: int) -> TrueRequest:
    alone_s = machine().price.step_s(BatchShape(0, 0, (Chunk(prompt, 0),)))
    request = Request(
        id=id,
        arrival_s=at_s,
        prompt_tokens=prompt,
        max_tokens=CONTEXT_TOKENS - prompt,
        ttft_s=TTFT_TIMES[kind.prefill] * alone_s,
        tpot_s=TPOT_S[kind.decode],
    )
    return TrueRequest(request=request, output_tokens=output)


class Felt:
    """Counts the requests that were in time."""

    def __init__(self, all_of_them: Sequence[TrueRequest]) -> None:
        self._bounds = {true.request.id: (true.request.ttft_s, true.request.tpot_s) for true in all_of_them}
        self.num_good = 0

    def on_event(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, RequestFinished):
            ttft_s, tpot_s = self._bounds[event.id]
            assert ttft_s is not None
            assert tpot_s is not None
            self.num_good += event.ttft_s <= ttft_s and event.tpot_s <= tpot_s


@functools.cache
def good_frac(who: str, scenario: str, num: int, rate_per_s: float, seed: int, replicas: int = 1) -> float:
    """Return the share of requests that kept both objectives, at so many requests per second."""
    made = requests(scenario, num, seed, replicas)
    hurried = [_at(true, true.request.arrival_s * replicas / rate_per_s) for true in made]
    one, price = machine(), machine().price
    instances = [
        InstanceState(f"gpu-{number}", BlockPool(one.num_kv_tokens // 16), one.num_layers, pool="gpu")
        for number in range(replicas)
    ]
    speculation = Speculation(acceptance_frac=ACCEPTANCE_FRAC, draft_s=DRAFT_S, seed=seed)
    world = ServingWorld(hurried, instances, price, speculation=speculation)
    policy, felt = CONTESTANTS[who](), Felt(made)
    simulate(world, policy, session=Session(policy, world.view, seed=seed, instruments=[felt]))
    return felt.num_good / len(made)


def _at(true: TrueRequest, at_s: Seconds) -> TrueRequest:
    return msgspec.structs.replace(true, request=msgspec.structs.replace(true.request, arrival_s=at_s))


def largest_rate(who: str, scenario: str, num: int, seed: int, quick: bool) -> float:
    """Return the highest rate of one instance, per second, at which 90% of the requests keep both objectives."""

    def attempt(load: float) -> Verdict:
        good = good_frac(who, scenario, num, load, seed)
        passed = good >= 1 - MOST_VIOLATIONS_FRAC
        return Verdict(passed=passed, good_frac=good, whole=True, num_runs=1, rate_per_s=load, numbers={}, wall_s=0.0)

    found = largest_load(attempt, start=4.0, max_load=256.0, tolerance_frac=0.15 if quick else 0.08)
    return found.load or 0.0


NUM_REQUESTS = {"chat": 450, "coder": 300, "summarizer": 180, "mixed": 240}
"""They arrive within about half a minute at the rates that matter."""


def capacity(seed: int, quick: bool) -> Numbers:
    """Measure what each carries per accelerator in every scenario, and the geometric mean."""
    found: dict[str, dict[str, float]] = {}
    for who in ("slos-serve", "sarathi", "vllm"):
        rates = {
            f"{name}_per_s": largest_rate(who, name, num // (2 if quick else 1), seed, quick) / GPUS
            for name, num in NUM_REQUESTS.items()
        }
        found[who] = {**rates, "all_per_s": float(np.exp(np.mean(np.log(list(rates.values())))))}
    best = {name: max(found[who][name] for who in ("sarathi", "vllm")) for name in found["vllm"]}
    best["all_per_s"] = float(np.exp(np.mean([np.log(rate) for name, rate in best.items() if name != "all_per_s"])))
    return {**found, "better-of-both": best}


def ablation(scenario: str, seed: int, quick: bool) -> Numbers:
    """Measure what is carried without one part after the other."""
    num = NUM_REQUESTS[scenario] // (2 if quick else 1)
    whos = ("slos-serve", "no-speculation", "no-deferral")
    return {who: {f"{scenario}_per_s": largest_rate(who, scenario, num, seed, quick) / GPUS} for who in whos}


RATES = (2.0, 4.0, 6.0, 9.0, 12.0)


def overload(seed: int, quick: bool) -> Numbers:
    """Measure the share of requests in time at rising rates."""
    num = NUM_REQUESTS["mixed"] // (2 if quick else 1)
    rates = RATES[1::2] if quick else RATES
    return {
        who: {f"good_at_{rate:g}_per_s_frac": good_frac(who, "mixed", num, rate, seed) for rate in rates}
        for who in ("slos-serve", "no-deferral", "sarathi", "vllm")
    }


REPLICAS = 4
STEPS = (12.0, 17.0, 24.0, 34.0)
"""Requests per second for each instance that are tried."""


def scaling(seed: int, quick: bool) -> Numbers:
    """Measure how many times what one instance carries is carried by four, routed by feasibility or otherwise."""
    num = NUM_REQUESTS["coder"] // (3 if quick else 2)

    def alone(rate: float) -> float:
        parts = range(REPLICAS)
        return float(np.mean([good_frac("slos-serve", "coder", num, rate, part_of(seed, part)) for part in parts]))

    def together(who: str, rate: float) -> float:
        return good_frac(who, "coder", num, REPLICAS * rate, seed, REPLICAS)

    one = _last_good(alone)
    whos = ("slos-serve", "round-robin")
    found = {who: {"times_one": REPLICAS * _last_good(partial(together, who)) / one} for who in whos}
    return found | {"linear": {"times_one": float(REPLICAS)}}


def _last_good(good: Callable[[float], float]) -> float:
    """Return the rate at which 90% are still in time, between two that are tried, by a straight line."""
    before, last = 0.0, 1.0
    for rate in STEPS:
        frac = good(rate)
        if frac < 1 - MOST_VIOLATIONS_FRAC:
            return before + (rate - before) * (last - (1 - MOST_VIOLATIONS_FRAC)) / (last - frac)
        before, last = rate, frac
    return STEPS[-1]


def planner(seed: int, quick: bool) -> Numbers:
    """Measure how long a decision takes beside 200 running requests."""
    num = 50 if quick else 200
    cases = {"new-1": (1, 2), "new-10": (10, 2), "new-10-tiers-4": (10, 4)}
    found = {
        name: times_s(SlosServe(), num_new=new, num_tiers=tiers, num_moments=num, first_seed=seed * num) * 1e3
        for name, (new, tiers) in cases.items()
    }
    return {name: {"p50_ms": float(np.median(t)), "p99_ms": float(np.percentile(t, 99))} for name, t in found.items()}
