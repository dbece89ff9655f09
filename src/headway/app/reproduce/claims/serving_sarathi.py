"""What Sarathi-Serve's publication claims.

Source: Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", OSDI 2024, arXiv
2403.02310.
"""

from __future__ import annotations

from functools import partial

from headway.app.reproduce.claim import Below, Claim, Of, Ratio, Size, ratio, rising
from headway.app.reproduce.claims import sarathi_settings as settings

HERE = (
    "Virtual time: a roofline whose efficiencies are fitted to A100 kernels, requests drawn from the published "
    "quantiles of the data set, Poisson arrivals"
)
ON_YI = "Yi-34B on 2 A100-80GB, tensor parallel"
VLLM = "prompts first, whole, up to one context per step; at most 128 requests"
STRICT = {
    "sarathi": "chunks beside all decodes, budget 512",
    "vllm": VLLM,
    "orca": "whole prompts beside decodes, memory reserved up front; at most 16 requests",
}
ABLATION = {
    "both": "chunks beside all decodes, budget 1024",
    "hybrid-only": "whole prompts beside all decodes",
    "chunk-only": "turns of chunks and of decodes, budget 1024",
    "both-512": "the same as both, budget 512",
    "chunk-only-512": "the same as chunk-only, budget 512",
}
RATIOS = (
    ("p99_itl_s", "hybrid-only", "both"),
    ("p99_itl_s", "chunk-only", "both"),
    ("p50_ttft_s", "both", "hybrid-only"),
    ("p50_ttft_s", "chunk-only", "both"),
)
"""What the ablation is judged by: metric, and whose is how many times whose."""
CAPACITY_NOTE = (
    "Capacity is the highest rate at which the P99 gap between tokens is within the bound and the median wait for the "
    "first step below 2 s, by bisection to 3% over 1,024 requests, 256 in a pipeline (to 10% over half as many when "
    "quick; the authors took 2,048)."
)
UP_TO_NOTE = "The published gain is the largest over data sets and bounds; it is held against openchat's here."
BUDGET_NOTE = (
    "The table says budget 1024, the authors' released script 512; both are run, and held against the same numbers. A "
    "step of 1024 prompt tokens takes 0.18 s at our prices and 0.217 s in a profile the authors released, so a P99 gap "
    "of 0.14 s fits 512 better. Judged are the ratios at 1024."
)
ARXIV_NOTE = (
    "With mixed steps alone our P99 gap is twice the published one: it is that of steps almost full with 16,384 prompt "
    "tokens, which closeness to saturation makes frequent (at 0.4 requests per second it is 2.1 s). At budget 512 this "
    "rate is beyond what we find sustainable: TTFT is too long there, and its ratios are beyond the published ones."
)


def _capacity(id: str, model: str, text: str, hardware: str, bound_s: float, *sizes: Size, **more: str) -> Claim:
    data_sets = ("openchat",) if model == "llama" else ("openchat", "arxiv")
    return Claim(
        id=id,
        text=text,
        source="section 5.1",
        hardware=hardware,
        here=HERE + more.get("here", ""),
        ours="sarathi",
        contestants=STRICT | ({"orca": more["orca"]} if "orca" in more else {}),
        measure=partial(settings.strict, model, data_sets, bound_s),
        directions=[b for data in data_sets for b in _below_sarathi(f"{data}_per_s")],
        sizes=sizes,
        notes=[CAPACITY_NOTE, UP_TO_NOTE],
    )


def _below_sarathi(metric: str) -> list[Below]:
    return [Below(Of(other, metric), Of("sarathi", metric)) for other in ("vllm", "orca")]


def _ablation(id: str, text: str, data: str, numbers: tuple[tuple[float, float], ...], *notes: str) -> Claim:
    names, metrics = ("hybrid-only", "chunk-only", "both"), ("p50_ttft_s", "p99_itl_s")
    claimed = {
        (n, m): value for n, pair in zip(names, numbers, strict=True) for m, value in zip(metrics, pair, strict=True)
    }
    return Claim(
        id=id,
        text=text,
        source="section 5.4, ablation table",
        hardware=ON_YI,
        here=HERE,
        ours="both",
        contestants=ABLATION,
        measure=partial(settings.ablation, data),
        directions=[
            *rising("p50_ttft_s", "hybrid-only", "both", "chunk-only"),
            *rising("p99_itl_s", "both", "chunk-only", "hybrid-only"),
        ],
        sizes=[Size(ratio(m, one, other), claimed[one, m] / claimed[other, m]) for m, one, other in RATIOS],
        claimed=claimed | {(f"{n}-512", m): value for (n, m), value in claimed.items() if n != "hybrid-only"},
        notes=[BUDGET_NOTE, *notes],
    )


_GAIN_YI = [ratio(f"yi_at_{bound}_ms_per_s", "sarathi", "vllm") for bound in (200, 1000)]
_GAIN_MISTRAL = [ratio(f"mistral_at_{bound}_ms_per_s", "sarathi", "vllm") for bound in (100, 500)]

CLAIMS = (
    _capacity(
        "capacity-mistral",
        "mistral",
        "Within a strict bound on the gap between tokens (P99 of 0.1 s), Sarathi-Serve carries up to 2.6 times the "
        "requests of vLLM with Mistral-7B.",
        "Mistral-7B on 1 A100-80GB",
        0.1,
        Size(ratio("openchat_per_s", "sarathi", "vllm"), 2.6),
    ),
    _capacity(
        "capacity-yi",
        "yi",
        "Within a strict bound on the gap between tokens (P99 of 0.2 s), Sarathi-Serve carries up to 3.7 times the "
        "requests of vLLM and 4.0 times those of Orca with Yi-34B.",
        ON_YI,
        0.2,
        Size(ratio("openchat_per_s", "sarathi", "vllm"), 3.7),
        Size(ratio("openchat_per_s", "sarathi", "orca"), 4.0),
    ),
    _capacity(
        "capacity-llama",
        "llama",
        "Within a strict bound on the gap between tokens (P99 of 1 s), Sarathi-Serve carries up to 4.3 times the "
        "requests of vLLM and 6.3 times those of Orca with LLaMA2-70B in a pipeline.",
        "LLaMA2-70B on 8 A40, tensor parallel 4, pipeline of 2",
        1.0,
        Size(ratio("openchat_per_s", "sarathi", "vllm"), 4.3),
        Size(ratio("openchat_per_s", "sarathi", "orca"), 6.3),
        here="; of the A40 only the datasheet is known, its efficiencies are borrowed from the A100",
        orca="whole prompts beside decodes, memory reserved up front; at most 8 requests",
    ),
    Claim(
        id="bound-curve",
        text="The gain over vLLM is large within strict bounds (3.5 times at 0.1 s, Mistral-7B) and smaller within "
        "relaxed ones (1.65 times at 1 s, Yi-34B); the most requests that vLLM may run at once do not change it.",
        source="section 5.2, capacity against the bound",
        hardware="Mistral-7B on 1 A100-80GB; " + ON_YI,
        here=HERE,
        ours="sarathi",
        contestants={
            "sarathi": "budget 512 within strict bounds, 2048 within relaxed ones",
            "vllm": VLLM,
            "vllm-32": "the same, at most 32 requests",
            "vllm-64": "the same, at most 64 requests",
        },
        measure=settings.curve,
        directions=[
            *(Below(Of("vllm", metric), Of("sarathi", metric)) for metric in settings.CURVE),
            Below(_GAIN_YI[1], _GAIN_YI[0]),
            Below(_GAIN_MISTRAL[1], _GAIN_MISTRAL[0]),
        ],
        sizes=[
            Size(_GAIN_MISTRAL[0], 3.5),
            Size(_GAIN_YI[1], 1.65),
            Size(ratio("mistral_at_100_ms_per_s", "vllm-32", "vllm"), 1.0, slack=0.1),
            Size(ratio("mistral_at_100_ms_per_s", "vllm-64", "vllm"), 1.0, slack=0.1),
        ],
        notes=[CAPACITY_NOTE],
    ),
    _ablation(
        "ablation-openchat",
        "On openchat_sharegpt4 (128 requests, 1 per second), median TTFT and P99 gap between tokens are 0.53 and 0.68 "
        "s with mixed steps alone, 1.04 and 0.17 s with chunks alone, 0.76 and 0.14 s with both.",
        "openchat",
        ((0.53, 0.68), (1.04, 0.17), (0.76, 0.14)),
    ),
    _ablation(
        "ablation-arxiv",
        "On arxiv_summarization (128 requests, 1 every 2 s), median TTFT and P99 gap between tokens are 3.78 and 1.38 "
        "s with mixed steps alone, 5.38 and 0.20 s with chunks alone, 3.90 and 0.17 s with both.",
        "arxiv",
        ((3.78, 1.38), (5.38, 0.20), (3.90, 0.17)),
        ARXIV_NOTE,
    ),
    Claim(
        id="budget-sweep",
        text="As the token budget grows, gaps between tokens grow with it, while TTFT falls and then rises again.",
        source="sections 4.3 and 5.4; the shape of TTFT follows from them",
        hardware=ON_YI,
        here=HERE,
        ours="tau-512",
        contestants={f"tau-{tau}": f"budget {tau}" for tau in settings.TAUS},
        measure=settings.budgets,
        directions=[
            *rising("p99_itl_s", *(f"tau-{tau}" for tau in settings.TAUS)),
            *rising("p99_ttft_s", "tau-4096", "tau-2048", "tau-1024", "tau-512", "tau-256"),
            Below(Of("tau-4096", "p99_ttft_s"), Of("tau-16384", "p99_ttft_s")),
        ],
        notes=[
            "On arxiv_summarization, 128 requests, 1 every 2 s. TTFT rises again in its mean and tail, where prompts "
            "wait for each other in one long step; its median only falls, as it does in the published ablation, where "
            "whole prompts have the lowest."
        ],
    ),
    Claim(
        id="chunking-overhead",
        text="Chunks make the prefill of a prompt about 25% longer at 512 tokens, and hardly at 2048.",
        source="section 5.4, overhead of chunked prefills",
        hardware=ON_YI,
        here=HERE + "; single prompts of 2048, 4096 and 8192 tokens",
        ours="chunks-512",
        contestants={f"chunks-{size}": f"prompts in chunks of {size}" for size in (512, 1024, 2048)},
        measure=settings.chunking,
        directions=rising("overhead_frac", "chunks-2048", "chunks-1024", "chunks-512"),
        sizes=[
            Size(Of("chunks-512", "overhead_frac"), 0.25),
            Size(Of("chunks-2048", "overhead_frac"), 0.0, slack=0.05),
        ],
        claimed={("chunks-512", "overhead_frac"): 0.25, ("chunks-2048", "overhead_frac"): 0.0},
        notes=["Measurements that the authors released have 12 to 19% at 512 for these prompts."],
    ),
    Claim(
        id="stalls",
        text="A whole prompt beside decodes makes their gap up to 28.3 times that of decodes alone; chunks bound it.",
        source="section 3.2 and figure 1",
        hardware="A100-80GB",
        here=HERE + "; Yi-34B on two, openchat, 1 request per second; the longest gap over the median one",
        ours="sarathi",
        contestants={
            "sarathi": "chunks beside all decodes, budget 512",
            "hybrid-only": "whole prompts beside all decodes",
            "vllm": VLLM,
        },
        measure=settings.stalls,
        directions=rising("max_itl_s", "sarathi", "hybrid-only", "vllm"),
        sizes=[Size(Ratio(Of("hybrid-only", "max_itl_s"), Of("hybrid-only", "p50_itl_s")), 28.3)],
        notes=["vLLM's longest gap is several prompts long: as many as come before the decodes have their turn."],
    ),
    Claim(
        id="pipeline-bubbles",
        text="Steps of even size leave the stages of a pipeline less idle, and so give more tokens per second.",
        source="sections 3.3 and 5.3",
        hardware="Falcon-180B and LLaMA2-70B, tensor parallel 4, pipeline of 2",
        here=HERE + "; LLaMA2-70B on 8 A40 (efficiencies borrowed from the A100), all requests at once",
        ours="sarathi",
        contestants={"sarathi": STRICT["sarathi"], "vllm": VLLM},
        measure=settings.bubbles,
        directions=[*rising("idle_frac", "sarathi", "vllm"), *rising("output_tokens_per_s", "vllm", "sarathi")],
    ),
)
