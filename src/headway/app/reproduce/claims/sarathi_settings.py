"""The settings of Sarathi-Serve's evaluation, and how its numbers are measured here.

Models, splits, objectives and length statistics are those of Agrawal et al. 2024 (arXiv 2403.02310, tables 1 and 2);
arrival rates, numbers of requests and batch sizes those of the experiments that its authors released.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.sarathi_parts import ChunksOnly
from headway.app.reproduce.serving import Setting, capacity_per_s, play
from headway.core.nouns import Seconds
from headway.policies.serving.orca import Orca
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import Batch
from headway.policies.serving.vllm import Vllm
from headway.traces.generate.lengths import Fixed

MISTRAL = Setting(model="mistral-7b", accelerator="a100-80gb-sxm", lengths="openchat-sharegpt4", context_tokens=8192)
YI = replace(MISTRAL, model="yi-34b", tensor_parallel=2)
LLAMA = replace(MISTRAL, model="llama-2-70b", accelerator="a40", tensor_parallel=4, pipeline_parallel=2, rate_per_s=0.5)
MODELS = {"mistral": MISTRAL, "yi": YI, "llama": LLAMA}

QUEUE_S: Seconds = 2.0
"""Half of the requests must begin within this time."""
NUM_REQUESTS = {"mistral": 1024, "yi": 1024, "llama": 256}
"""The authors took 2,048; steps in a pipeline take long to simulate."""
ORCA_BATCH = {"mistral": 16, "yi": 16, "llama": 8}
TAUS = (256, 512, 1024, 2048, 4096, 8192, 16384)


def openchat(setting: Setting) -> Setting:
    """Return a setting with requests as of openchat_sharegpt4."""
    return replace(setting, lengths="openchat-sharegpt4", context_tokens=8192)


def arxiv(setting: Setting) -> Setting:
    """Return a setting with requests as of arxiv_summarization, at half the rate."""
    rate_per_s = setting.rate_per_s / 2
    return replace(setting, lengths="arxiv-summarization", context_tokens=16384, rate_per_s=rate_per_s)


DATA: dict[str, Callable[[Setting], Setting]] = {"openchat": openchat, "arxiv": arxiv}


def seats(model: str, setting: Setting, budget: int) -> dict[str, Callable[[], Batch]]:
    """Return who is compared: steps of prompts take up to a context, as released."""
    longest = setting.context_tokens
    return {
        "orca": lambda: Orca(max_batch_size=ORCA_BATCH[model]),
        "vllm": lambda: Vllm(max_batched_tokens=longest, max_seqs=128),
        "vllm-32": lambda: Vllm(max_batched_tokens=longest, max_seqs=32),
        "vllm-64": lambda: Vllm(max_batched_tokens=longest, max_seqs=64),
        "sarathi": lambda: SarathiServe(token_budget=budget),
    }


@functools.cache
def capacity(who: str, model: str, data: str, budget: int, p99_itl_s: Seconds, seed: int, quick: bool) -> float:
    """Return what somebody carries within a bound on the gaps between tokens, in requests per second."""
    num_requests = NUM_REQUESTS[model] // (2 if quick else 1)
    setting = replace(DATA[data](MODELS[model]), num_requests=num_requests)
    seat, tolerance_frac = seats(model, setting, budget)[who](), 0.1 if quick else 0.03
    return capacity_per_s(
        setting, seat, seed, p99_itl_s=p99_itl_s, p50_queue_s=QUEUE_S, tolerance_frac=tolerance_frac
    )  # fmt: skip


def strict(model: str, data_sets: tuple[str, ...], p99_itl_s: Seconds, seed: int, quick: bool) -> Numbers:
    """Measure what three schedulers carry within a strict bound, with the budget of 512 that the paper takes there."""
    return {
        who: {f"{data}_per_s": capacity(who, model, data, 512, p99_itl_s, seed, quick) for data in data_sets}
        for who in ("sarathi", "vllm", "orca")
    }


CURVE = {
    "mistral_at_100_ms_per_s": ("mistral", 512, 0.1),
    "mistral_at_500_ms_per_s": ("mistral", 2048, 0.5),
    "yi_at_200_ms_per_s": ("yi", 512, 0.2),
    "yi_at_1000_ms_per_s": ("yi", 2048, 1.0),
}
"""Model, budget and bound by metric: points of the curve of capacity against the bound."""


def curve(seed: int, quick: bool) -> Numbers:
    """Measure what is carried within strict and relaxed bounds."""

    def points(who: str, metrics: Mapping[str, tuple[str, int, Seconds]]) -> dict[str, float]:
        return {
            metric: capacity(who, model, "openchat", budget, bound_s, seed, quick)
            for metric, (model, budget, bound_s) in metrics.items()
        }

    first = dict(list(CURVE.items())[:1])
    few = {who: points(who, first) for who in ("vllm-32", "vllm-64")}
    return {"sarathi": points("sarathi", CURVE), "vllm": points("vllm", CURVE), **few}


def ablation(data: str, seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (it is quick anyway)
    """Measure chunks alone, mixed steps alone, and both."""
    setting = replace(DATA[data](YI), num_requests=128)
    contestants: dict[str, Batch] = {
        "hybrid-only": SarathiServe(token_budget=setting.context_tokens),
        "chunk-only": ChunksOnly(token_budget=1024),
        "both": SarathiServe(token_budget=1024),
        "chunk-only-512": ChunksOnly(token_budget=512),
        "both-512": SarathiServe(token_budget=512),
    }
    return {name: _felt(play(setting, seat, seed)) for name, seat in contestants.items()}


def budgets(seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (it is quick anyway)
    """Measure Sarathi-Serve with rising budgets."""
    setting = replace(arxiv(YI), num_requests=128)
    metrics = ("p50_ttft_s", "p90_ttft_s", "p99_ttft_s", "p99_itl_s")
    return {f"tau-{tau}": _felt(play(setting, SarathiServe(token_budget=tau), seed), metrics) for tau in TAUS}


def chunking(seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (nothing is random)
    """Measure how much longer prompts take in chunks, when they are alone."""
    alone = [
        replace(YI, lengths=Fixed(prompt_tokens=tokens, output_tokens=2), num_requests=1, context_tokens=16384)
        for tokens in (2048, 4096, 8192)
    ]

    def ttft_s(budget: int) -> list[float]:
        return [play(one, SarathiServe(token_budget=budget), seed)["p50_ttft_s"] for one in alone]

    whole = ttft_s(16384)

    def overhead_frac(budget: int) -> float:
        return sum(cut / full for cut, full in zip(ttft_s(budget), whole, strict=True)) / len(whole) - 1

    return {f"chunks-{budget}": {"overhead_frac": overhead_frac(budget)} for budget in (512, 1024, 2048)}


def stalls(seed: int, quick: bool) -> Numbers:  # noqa: ARG001 (it is quick anyway)
    """Measure the gaps between tokens where whole prompts run beside, before, or in chunks beside decodes."""
    setting = replace(openchat(YI), num_requests=128)
    contestants: dict[str, Batch] = {
        "sarathi": SarathiServe(token_budget=512),
        "hybrid-only": SarathiServe(token_budget=setting.context_tokens),
        "vllm": seats("yi", setting, 512)["vllm"](),
    }
    return {name: _felt(play(setting, seat, seed)) for name, seat in contestants.items()}


def bubbles(seed: int, quick: bool) -> Numbers:
    """Measure how long pipeline stages idle while there is always work."""
    setting = replace(openchat(LLAMA), num_requests=128 if quick else 256, rate_per_s=50.0)
    made = seats("llama", setting, 512)
    numbers = {who: play(setting, made[who](), seed) for who in ("sarathi", "vllm")}
    return {
        who: {"idle_frac": 1 - one["busy_frac"], "output_tokens_per_s": one["output_tokens_per_s"]}
        for who, one in numbers.items()
    }


def _felt(
    numbers: Mapping[str, float], metrics: Sequence[str] = ("p50_ttft_s", "p99_itl_s", "p50_itl_s", "max_itl_s")
) -> dict[str, float]:
    return {metric: numbers[metric] for metric in metrics}
