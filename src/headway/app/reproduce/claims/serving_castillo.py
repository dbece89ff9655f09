"""What predicted lengths are worth: the directions that measured lengths of outputs lead one to expect.

Source: Perez-Ramirez, Kostic, Boman, "CASTILLO: Characterizing Response Length Distributions of Large Language Models",
2025, arXiv 2505.16881. It measures lengths and schedules nothing; the sizes claimed here are what is expected of
schedulers at such lengths, not what the publication measured.
"""

from __future__ import annotations

from functools import partial

from headway.app.reproduce.claim import Below, Claim, Of, Ratio, Size, ratio, rising
from headway.app.reproduce.claims import castillo_settings as settings

SOURCE = "expected of schedulers at lengths that vary as published"
HARDWARE = "none: lengths of 13 open models, 1B to 70B, over 7 corpora"
HERE = (
    "Virtual time: Llama-3.1-8B on 1 A100-80GB, chunked prefill (budget 2048), made lengths: medians of prompts vary "
    "by sigma 0.7, samples of one prompt by {within}, mean 350 tokens"
)
AT_MOST = (
    "An oracle that knows the law of a prompt and not the sample is the best that any predictor can be; results are to "
    "be held against it. It is drawn so that law and truth are together as if prompts had been drawn first."
)
RANKED = {
    "oracle": "shortest first by true lengths",
    "oracle-mean": "shortest first by the law of each prompt",
    "noisy": "shortest first by true lengths with a log-normal error of 0.5",
    "bucket": "shortest first by a classifier into six buckets, wrong for 20%",
    "fcfs": "first come, first served: no lengths",
}
RESERVED = {
    "none": "nothing reserved: preemptions with recomputation",
    "p10": "the 10% quantile of what the client's outputs came to",
    "mean": "their mean",
    "p90": "their 90% quantile",
    "p99": "their 99% quantile",
    "max": "all that was asked for, as Orca does",
}


def _jct(id: str, within: float, *notes: str) -> Claim:
    return Claim(
        id=id,
        text="Shortest first by true lengths has the lowest mean time to completion; by the law of the prompt it loses "
        "5 to 20%; without lengths it is worst at high load.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE.format(within=within) + "; 500 requests at several times what 32 slots carry",
        ours="oracle-mean",
        contestants=RANKED,
        measure=partial(settings.ranked, within),
        directions=[
            *rising("mean_e2e_s", "oracle", "oracle-mean", "fcfs"),
            *(Below(Of(kind, "mean_e2e_s"), Of("fcfs", "mean_e2e_s")) for kind in ("noisy", "bucket")),
        ],
        sizes=[Size(ratio("mean_e2e_s", "oracle-mean", "oracle"), 1.125, slack=0.075)],
        notes=[AT_MOST, *notes],
    )


_GAIN = {name: Ratio(Of("fcfs", f"{name}_mean_e2e_s"), Of("sjf", f"{name}_mean_e2e_s")) for name in ("narrow", "wide")}

CLAIMS = (
    _jct(
        "jct",
        0.25,
        "The loss of the law against the truth is below the expected 5% here: samples of one prompt vary by a third of "
        "what prompts vary by, so that ranks hardly change. With samples that vary by 0.5, the upper end of what was "
        "measured, it is within 5 to 20% (claim jct-varied).",
    ),
    _jct("jct-varied", 0.5),
    Claim(
        id="reservation",
        text="The more memory is reserved for outputs (mean, P90, P99, all), the fewer preemptions and the less of the "
        "memory is used.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE.format(within=0.25) + "; 8,000 tokens of KV memory, 300 requests at 4 per second",
        ours="mean",
        contestants=RESERVED,
        measure=settings.reserved,
        directions=[
            *rising("num_preemptions", "mean", "p10", "none"),
            *rising("kv_used_frac", "max", "p99", "p90", "mean", "p10", "none"),
        ],
        notes=[
            "Preemptions are gone with the mean already, so P90, P99 and all only cost memory: whoever reserves what "
            "requests come to in the end reserves more than they hold at any time, because they are not all near their "
            "ends at once. Below the mean (P10) some are left.",
            "All this waiting costs more than recomputing preempted requests does here: without reservations the mean "
            "time to completion is the lowest.",
        ],
    ),
    Claim(
        id="endless",
        text="One request in a hundred that never ends makes P99 of the time to completion and preemptions jump.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE.format(within=0.25) + "; 24,000 tokens of KV memory, 600 requests at 4 per second; endless outputs "
        "are cut off at 15,000 tokens, as published",
        ours="1%",
        contestants={"0%": "all outputs end", "1%": "one in a hundred goes on to 15,000 tokens"},
        measure=settings.endless,
        directions=[
            *rising("p99_e2e_s", "0%", "1%"),
            *rising("mean_e2e_s", "0%", "1%"),
            *rising("num_preemptions", "0%", "1%"),
        ],
    ),
    Claim(
        id="spread",
        text="How policies compare depends on how much the lengths of a model vary.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE.format(within=0.25).replace("by sigma 0.7", "by sigma 0.1 (narrow) or 1.2 (wide)"),
        ours="sjf",
        contestants={"fcfs": "first come, first served", "sjf": "shortest first by the law of each prompt"},
        measure=settings.spread,
        directions=[Below(_GAIN["narrow"], _GAIN["wide"])],
    ),
    Claim(
        id="schedulers",
        text="Schedulers that use lengths serve more requests as promised with predictions than with what was asked "
        "for.",
        source="this project: what a predictor is worth to its users",
        hardware=HARDWARE,
        here="Virtual time: Llama-3.1-8B on 1 A100-80GB of which 48,000 tokens of KV memory are left, 300 requests "
        "like the Azure conversations at 6 per second, promised a first token in 1 s and the others every 50 ms",
        ours="quantile",
        contestants={
            "none": "all that was asked for",
            "quantile": "what the client's last 512 outputs came to",
            "oracle-mean": "the law of each prompt",
            "oracle": "the truth",
        },
        measure=settings.used,
        directions=[
            Below(Of("none", f"{user}_goodput_frac"), Of(kind, f"{user}_goodput_frac"))
            for user in settings.USERS
            for kind in ("quantile", "oracle")
        ],
        notes=[
            "slos is SLOs-Serve, nanoflow NanoFlow's steps of a fixed size, reserve chunked prefill with the P90 of "
            "outputs reserved. What clients' outputs came to is worth almost as much to them as the truth. Where "
            "memory is ample SLOs-Serve serves the same share with any of them.",
        ],
    ),
    Claim(
        id="prediction",
        text="No predictor is exact: the best possible one is off by what samples of one prompt vary by, and others "
        "lie above that floor.",
        source="the variation of ten samples per prompt: 10 to 50%",
        hardware=HARDWARE,
        here="4,000 requests of two clients with mean outputs of 120 and 700 tokens, each predicted before it is seen",
        ours="oracle-mean",
        contestants={
            "oracle-mean": "the law of each prompt: the floor",
            "noisy": "the truth with a log-normal error of 0.5",
            "bucket": "a classifier into six buckets, wrong for 20%",
            "learned": "a regression on prompt, tokens asked for and client",
            "quantile": "what the client's last 512 outputs came to",
            "none": "all that was asked for, 15,000 tokens",
        },
        measure=settings.predicted,
        directions=[
            *rising("off_frac", "oracle-mean", "noisy", "learned", "none"),
            *rising("off_frac", "oracle-mean", "bucket", "none"),
            *rising("off_frac", "noisy", "quantile", "none"),
            *rising("rank_correlation", "none", "quantile", "noisy", "oracle-mean"),
            *rising("reserved_at_p99", "oracle-mean", "quantile", "none"),
        ],
        sizes=[
            Size(Of("oracle-mean", "off_frac"), 0.2, slack=0.05),
            Size(Of("quantile", "below_p90_frac"), 0.9, slack=0.02),
            Size(Of("learned", "below_p90_frac"), 0.9, slack=0.02),
        ],
        notes=[
            "off_frac is the mean distance of the predicted median from the truth, over the mean truth; "
            "reserved_at_p99 how many times the memory that is needed a reservation of the P99 takes.",
        ],
    ),
)
