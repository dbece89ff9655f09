"""Local and cloud models with what a query costs on each: energy, arithmetic and money, all of it modelled."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.core.nouns import Id, Seconds
from headway.policies.serving.intelligence_metrics import accuracy_per_joule, accuracy_per_watt
from headway.policies.serving.intelligence_per_watt import IntelligencePerWatt
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import RequestState
from headway.sim.serving.cost.configs import model_facts
from headway.sim.serving.cost.replica import replica
from headway.sim.serving.price import BatchShape, Chunk
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import LogNormal
from headway.traces.spec import TraceSpec

CLOUD_BATCH = 16
SHARES = {"local-8b": 0.68, "local-14b": 0.807}
LABELS = {"energy": "joules", "compute": "flops", "dense_compute": "dense_flops", "cost": "usd"}
STRATEGIES = {"cloud": 0.0, "router-60": 0.6, "router-80": 0.8, "oracle": 1.0}


@dataclass(frozen=True)
class Site:
    """A model on accelerators, which answers so many queries at once."""

    model: str
    accelerator: str
    count: int = 1
    weights: str = "bf16"
    batch: int = 1

    def cost(self, prompt: int, output: int) -> dict[str, float]:
        """Return what one query costs in joules, FLOPs and USD, how long it takes, and the power meanwhile.

        `dense_flops` are those of a model of the same size without experts.

        A query has its prompt computed alone, and its tokens in a batch of its like, which share the power.
        """
        made = replica(self.model, self.accelerator, tensor_parallel=self.count, weights=self.weights)
        assert made.power is not None  # every accelerator of the table has one
        first = BatchShape(0, 0, (Chunk(prompt, 0),))
        later = BatchShape(self.batch, self.batch * (prompt + output // 2))
        first_s, later_s = made.price.step_s(first), output * made.price.step_s(later)
        joules = first_s * made.power.watts(first) + later_s * made.power.watts(later) / self.batch
        facts = model_facts(self.model)
        return {
            "joules": joules,
            "flops": facts.token_flops * (prompt + output) + facts.attention_flops(prompt + output),
            "dense_flops": 2.0 * facts.parameters * (prompt + output),
            "usd": made.usd_per_h / 3600 * (first_s + later_s / self.batch),
            "e2e_s": first_s + later_s,
            "watts": joules / (first_s + later_s),
        }


SITES = {
    "local-8b": Site("qwen3-8b", "l4", weights="int4"),
    "local-14b": Site("qwen3-14b", "l4", weights="int4"),
    "cloud": Site("qwen3-235b-a22b", "h200-sxm", 8, batch=CLOUD_BATCH),
}


class Noted(IntelligencePerWatt):
    """Remembers where requests were sent."""

    def reset(self, rng: np.random.Generator) -> None:
        """Forget it."""
        super().reset(rng)
        self.sent: list[tuple[int, int, str]] = []

    def pick(self, state: RequestState, view: ServingView) -> Id:
        """Note prompt, row and pool."""
        found = super().pick(state, view)
        self.sent.append((int(state.id), state.request.prompt_tokens, view.instances[found].pool))
        return found


@functools.lru_cache(maxsize=2)
def scenario(num: int) -> ServingScenario:
    """Return chats that arrive at a fleet of small machines beside one large server."""
    counts = {"local-8b": 16, "local-14b": 8, "cloud": 1}
    fleet = tuple(
        FleetSpec(
            pool=pool, accelerator=site.accelerator, model=site.model, weights=site.weights,
            tensor_parallel=site.count, instances=counts[pool], max_running=site.batch,
        )
        for pool, site in SITES.items()
    )  # fmt: skip
    lengths = LogNormal(
        prompt_median=200, prompt_sigma=1.0, output_median=400, output_sigma=0.7,
        max_prompt_tokens=4096, max_output_tokens=2048,
    )  # fmt: skip
    return ServingScenario(trace=TraceSpec(lengths=lengths, num_requests=num, rate_per_s=1.0), fleet=fleet)


def routing(seed: int, quick: bool, cloud_batch: int = CLOUD_BATCH) -> Numbers:
    """Measure what routers of some accuracy save against sending everything to the cloud."""
    where = scenario(100 if quick else 400)
    outputs = where.trace.draw(seed, 1.0).output_tokens
    sites = {**SITES, "cloud": Site("qwen3-235b-a22b", "h200-sxm", 8, batch=cloud_batch)}
    found: dict[str, dict[str, float]] = {}
    spent: dict[str, dict[str, float]] = {}
    for name, accuracy in STRATEGIES.items():
        route = Noted(local=SHARES, accuracy_frac=accuracy, answers_seed=seed)
        report = where.play(Stack(batch=SarathiServe(), route=route), seed=seed).report
        costs = [_cost(sites[pool], prompt, int(outputs[row])) for row, prompt, pool in route.sent]
        spent[name] = {kind: sum(cost[kind] for cost in costs) for kind in LABELS.values()}
        found[name] = {
            f"{label}_saving_frac": 1 - spent[name][kind] / spent["cloud"][kind] for label, kind in LABELS.items()
        }
        found[name]["local_frac"] = float(np.mean([pool != "cloud" for _, _, pool in route.sent]))
        found[name]["p50_e2e_s"] = report.numbers["p50_e2e_s"]
    return found


def hardware(seed: int, quick: bool) -> Numbers:
    """Measure accuracy per watt and per joule of one model on several accelerators."""
    rng = np.random.default_rng(seed)
    num = 20 if quick else 100
    prompts = np.clip(rng.lognormal(np.log(200), 1.0, num), 8, 4096).astype(int).tolist()
    outputs = np.clip(rng.lognormal(np.log(400), 0.7, num), 8, 2048).astype(int).tolist()
    right = (rng.random(num) < SHARES["local-8b"]).astype(float)
    sites = {
        "l4": Site("qwen3-8b", "l4"),
        "b200": Site("qwen3-8b", "b200-sxm"),
        "h200": Site("qwen3-8b", "h200-sxm"),
        "h200-batch-64": Site("qwen3-8b", "h200-sxm", batch=64),
    }
    found = {}
    for name, site in sites.items():
        costs = [_cost(site, prompt, output) for prompt, output in zip(prompts, outputs, strict=True)]
        watts, e2e_s = ([cost[kind] for cost in costs] for kind in ("watts", "e2e_s"))
        found[name] = {
            "accuracy_per_watt": accuracy_per_watt(right, watts),
            "accuracy_per_joule": accuracy_per_joule(right, watts, e2e_s),
            "mean_e2e_s": _mean(e2e_s),
        }
    return found


@functools.lru_cache(maxsize=65536)
def _cost(site: Site, prompt: int, output: int) -> dict[str, float]:
    return site.cost(prompt, output)


def _mean(times_s: list[Seconds]) -> Seconds:
    return float(np.mean(times_s))
