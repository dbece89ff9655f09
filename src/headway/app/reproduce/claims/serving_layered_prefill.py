"""What layered prefill's publication claims.

Source: Lee et al., "From Tokens to Layers: Redefining Stall-Free Scheduling for LLM Serving with Layered Prefill",
2025, arXiv 2510.08055.
"""

from __future__ import annotations

from headway.app.reproduce.claim import Below, Claim, Of, Size, ratio, rising
from headway.app.reproduce.claims import layered_prefill_settings as settings

HERE = (
    "Virtual time: a roofline whose efficiencies are fitted to H100 kernels, vLLM's overheads, routing of experts as "
    "uneven as published (54, 72 and 88% are visited by 32, 64 and 128 tokens), requests drawn from the quantiles of "
    "the data set, Poisson arrivals"
)
MOE, DENSE = "Qwen3-30B-A3B on 2 H100-80GB, tensor parallel", "Qwen3-8B on 2 H100-80GB, tensor parallel"
WHO = {
    "layered": "cohorts through ceil(L / 512) groups of layers beside all decodes",
    "chunks-512": "chunks beside all decodes, budget 512",
}
SLOW = {f"{who}-slow": f"{about}; 16 ms more per step" for who, about in WHO.items()}
BOUNDS_NOTE = (
    "Carried is a rate at which 90% of the requests have their first token within 5 s and the others, in their mean, "
    "within five times a step of 32 decodes with 4,096 tokens of context. The published bound on the first token is "
    "not known to us; the gain on arXiv is 1.6 with 2 s and 1.5 with 10 s."
)
RATE_NOTE = (
    "Our engine is faster than the published one: chunks of 512 carry 2.3 requests of arXiv per second, and 1.3 there, "
    "and the P99 gap between tokens is 30 ms, and 48 there. With 16 ms more per step the gap is about the published "
    "one, and so are the rates."
)
FELT = {
    "mean_ttft_s": (1.24, 2.80), "p99_ttft_s": (4.10, 8.65), "mean_tpot_s": (0.65, 1.0), "p99_itl_s": (0.73, 1.0),
    "mean_e2e_s": (5.5, 9.4),
}  # fmt: skip
"""Published numbers of layers and of chunks, or their ratio."""
FELT_SECONDS = {
    (who, metric): value
    for metric, pair in FELT.items()
    if pair[1] != 1.0
    for who, value in zip(WHO, pair, strict=True)
}


CLAIMS = (
    Claim(
        id="capacity",
        text="Within the same bounds, layered prefill carries 14 to 45% more requests than chunks of 512; 1.6 instead "
        "of 1.3 per second with Qwen3-30B-A3B on arXiv.",
        source="evaluation, SLO attainment over rate, and energy at the best rate",
        hardware=MOE + "; GPT-OSS-20B on the same",
        here=HERE + "; Qwen3-30B-A3B alone",
        ours="layered",
        contestants=WHO | SLOW,
        measure=settings.capacity,
        directions=[
            *rising("arxiv_per_s", "chunks-512", "layered"),
            *rising("chat_per_s", "chunks-512", "layered"),
            *rising("arxiv_per_s", "chunks-512-slow", "layered-slow"),
        ],
        sizes=[
            Size(ratio("arxiv_per_s", "layered", "chunks-512"), 1.295, slack=0.155),
            Size(ratio("chat_per_s", "layered", "chunks-512"), 1.295, slack=0.155),
            Size(ratio("arxiv_per_s", "layered-slow", "chunks-512-slow"), 1.6 / 1.3, slack=0.1),
        ],
        claimed={("layered", "arxiv_per_s"): 1.6, ("chunks-512", "arxiv_per_s"): 1.3},
        notes=[
            BOUNDS_NOTE,
            RATE_NOTE,
            "At our own speed both ratios are held against the published range, 1.14 to 1.45; arXiv's is just beyond. "
            "The shorter a step, the more the reads of experts weigh in it: on the slower engine, whose rates are the "
            "published ones, the ratio is within 0.1 of the published one.",
        ],
    ),
    Claim(
        id="felt",
        text="On arXiv, at the rate that chunks of 512 just carry, mean TTFT falls from 2.80 to 1.24 s, its P99 from "
        "8.65 to 4.10 s, mean time per token by 35%, P99 gap by 27%, time to the last token from 9.4 to 5.5 s.",
        source="evaluation, Qwen3-30B-A3B on arXiv at 1.3 requests per second",
        hardware=MOE,
        here=HERE + "; 2.2 requests per second, and 1.3 on the slower engine",
        ours="layered",
        contestants=WHO | SLOW,
        measure=settings.felt,
        directions=[
            *(below for metric in FELT for below in rising(metric, "layered", "chunks-512")),
            *(below for metric in FELT for below in rising(metric, "layered-slow", "chunks-512-slow")),
        ],
        sizes=[
            *(Size(ratio(metric, "layered", "chunks-512"), ours / theirs) for metric, (ours, theirs) in FELT.items()),
            *(Size(Of(f"{who}-slow", metric), value) for (who, metric), value in FELT_SECONDS.items()),
        ],
        claimed=FELT_SECONDS | {(f"{who}-slow", metric): value for (who, metric), value in FELT_SECONDS.items()},
        notes=[RATE_NOTE, "So near the limit of the chunks their TTFT depends on the rate more than on anything else."],
    ),
    Claim(
        id="expert-reads",
        text="For 100 requests, the weights of experts that are read fall by 39% on arXiv and by 12% on ShareGPT.",
        source="evaluation, expert traffic (35.6 to 21.7 TB, 28.5 to 25.1 TB)",
        hardware=MOE,
        here=HERE + "; 1.3 and 4.2 requests per second; all accelerators together",
        ours="layered",
        contestants=WHO,
        measure=settings.expert_reads,
        directions=[
            *rising("arxiv_expert_tb", "layered", "chunks-512"),
            *rising("chat_expert_tb", "layered", "chunks-512"),
        ],
        sizes=[
            Size(ratio("arxiv_expert_tb", "layered", "chunks-512"), 0.61),
            Size(ratio("chat_expert_tb", "layered", "chunks-512"), 0.88),
        ],
        claimed={
            ("chunks-512", "arxiv_expert_tb"): 35.6,
            ("layered", "arxiv_expert_tb"): 21.7,
            ("chunks-512", "chat_expert_tb"): 28.5,
            ("layered", "chat_expert_tb"): 25.1,
        },
        notes=[
            "Ours are two to four times as many bytes. Each chunk of 512 visits nearly all experts, 58 GB, so 100 "
            "prompts of 7,600 tokens come to 86 TB without any decode: that, and the 955 GB per request published "
            "beside it, agree with ours and not with 35.6 TB. We judge the ratios."
        ],
    ),
    Claim(
        id="chunk-sizes",
        text="From chunks of 512 to 2048, reads of experts fall from 955 to 304 GB per request, energy from 60.2 to "
        "32.4 mJ per token, and the rate that is carried rises from 1.3 to 2.6, but the P99 gap does from 48.4 to 129 "
        "ms.",
        source="motivation, chunk sizes",
        hardware=MOE,
        here=HERE + "; arXiv, each at the rate that it carries",
        ours="layered",
        contestants={
            "layered": WHO["layered"],
            **{f"chunks-{size}": f"chunks beside all decodes, budget {size}" for size in settings.CHUNKS},
        },
        measure=settings.chunk_sizes,
        directions=[
            *rising("expert_gb_per_request", "chunks-2048", "chunks-1024", "chunks-512"),
            *rising("mj_per_token", "chunks-2048", "chunks-1024", "chunks-512"),
            *rising("carried_per_s", "chunks-512", "chunks-1024", "chunks-2048"),
            *rising("p99_itl_s", "layered", "chunks-512", "chunks-1024", "chunks-2048"),
            Below(Of("layered", "expert_gb_per_request"), Of("chunks-512", "expert_gb_per_request")),
        ],
        sizes=[
            Size(ratio("expert_gb_per_request", "chunks-2048", "chunks-512"), 304 / 955),
            Size(ratio("mj_per_token", "chunks-2048", "chunks-512"), 32.4 / 60.2),
            Size(ratio("carried_per_s", "chunks-2048", "chunks-512"), 2.0),
            Size(ratio("p99_itl_s", "chunks-2048", "chunks-512"), 129 / 48.4),
        ],
        claimed={
            ("chunks-512", "expert_gb_per_request"): 955,
            ("chunks-2048", "expert_gb_per_request"): 304,
            ("chunks-512", "mj_per_token"): 60.2,
            ("chunks-2048", "mj_per_token"): 32.4,
            ("chunks-512", "carried_per_s"): 1.3,
            ("chunks-2048", "carried_per_s"): 2.6,
            ("chunks-512", "p99_itl_s"): 0.0484,
            ("chunks-2048", "p99_itl_s"): 0.129,
        },
        notes=[
            "Chunks of 1024 and 2048 carry as much as layers or more where the bound on the mean time per token allows "
            "for them, as it does here; layers are for those whose bound on gaps does not.",
        ],
    ),
    Claim(
        id="groups",
        text="Fewer groups of layers bring the first token sooner and gaps that are longer: a P99 gap of 138 ms with "
        "2, of 35.7 ms with 16.",
        source="evaluation, number of groups",
        hardware=MOE,
        here=HERE + "; arXiv, 2.2 requests per second, as many groups for every prompt",
        ours="groups-16",
        contestants={f"groups-{num}": f"{num} groups of layers" for num in settings.GROUPS},
        measure=settings.groups,
        directions=[
            *rising("mean_ttft_s", *(f"groups-{num}" for num in settings.GROUPS)),
            *rising("p99_itl_s", *(f"groups-{num}" for num in reversed(settings.GROUPS))),
        ],
        sizes=[Size(ratio("p99_itl_s", "groups-2", "groups-16"), 138 / 35.7)],
        claimed={
            ("groups-2", "p99_itl_s"): 0.138,
            ("groups-16", "p99_itl_s"): 0.0357,
            ("groups-16", "mean_ttft_s"): 1.27,
        },
    ),
    Claim(
        id="dense",
        text="With a dense model there is nothing to gain: mean TTFT is 1.45 s with layered prefill, 0.955 s with "
        "chunks.",
        source="discussion, Qwen3-8B",
        hardware=DENSE,
        here=HERE + "; arXiv, 3.5 requests per second, 85% of what chunks of 512 carry",
        ours="layered",
        contestants=WHO,
        measure=settings.dense,
        directions=rising("mean_ttft_s", "chunks-512", "layered"),
        sizes=[Size(ratio("mean_ttft_s", "layered", "chunks-512"), 1.45 / 0.955)],
        claimed={("layered", "mean_ttft_s"): 1.45, ("chunks-512", "mean_ttft_s"): 0.955},
        notes=[
            "The weights of a dense model are read in every step anyway, so splitting by layers saves no reads; who "
            "arrives waits for the cohort on its way. The published rate and split are not known to us."
        ],
    ),
    Claim(
        id="energy",
        text="Energy per token falls by 22% with each at the rate that it carries (56.6 to 44.2 mJ), by 8 to 9% at the "
        "same rate.",
        source="evaluation, energy",
        hardware=MOE,
        here=HERE + "; arXiv; power from the shares of peak arithmetic and bandwidth; 3.2 and 2.2 requests per second",
        ours="layered",
        contestants=WHO,
        measure=settings.energy,
        directions=[
            *rising("best_mj_per_token", "layered", "chunks-512"),
            *rising("same_mj_per_token", "layered", "chunks-512"),
        ],
        sizes=[
            Size(ratio("best_mj_per_token", "layered", "chunks-512"), 44.2 / 56.6),
            Size(ratio("same_mj_per_token", "layered", "chunks-512"), 0.915, slack=0.07),
        ],
        claimed={("layered", "best_mj_per_token"): 44.2, ("chunks-512", "best_mj_per_token"): 56.6},
    ),
)
