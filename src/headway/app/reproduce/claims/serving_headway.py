"""What Headway's own policy is meant to hold.

There is no publication: these are the goals that it was built for.
"""

from __future__ import annotations

from headway.app.reproduce.claim import Claim, Size, ratio, rising
from headway.app.reproduce.claims import mixed_settings as settings

CLAIMS = (
    Claim(
        id="mixed-load",
        text="On the mixed workload it carries at least 1.5 times the load of Sarathi-Serve, and 1.2 times that of the "
        "best published mechanism, with 90% of the promised requests within all their bounds.",
        source="the goal of this project",
        hardware="1 A100-80GB",
        here="Virtual time: Llama-3.1-8B on 1 A100-80GB, the first parts of the traces that come along, another run of "
        "neighbours of each for each seed",
        ours="headway",
        contestants={
            "headway": "as many promises kept as there is time for",
            "slos-serve": "SLOs-Serve with its defaults, the best of those measured",
            "sarathi": "Sarathi-Serve, budget 512",
        },
        measure=settings.carried,
        directions=[
            *rising("load_at_90", "sarathi", "headway"),
            *rising("load_at_90", "slos-serve", "headway"),
            *rising("kept_beyond_frac", "sarathi", "headway"),
        ],
        sizes=[
            Size(ratio("load_at_90", "headway", "sarathi"), 1.5, at_least=True),
            Size(ratio("load_at_90", "headway", "slos-serve"), 1.2, at_least=True),
        ],
        notes=[
            "load_at_90 is the largest load with 90% kept, to 10%; kept_beyond_frac the share kept at 1.3 times the "
            "load of Sarathi-Serve. `python benchmarks/mixed_slo.py` asks all mechanisms, on one accelerator and on "
            "four, on these parts of the traces and on others, also on the recorded ones.",
            "What is not kept when there is too much to do are the longest prompts: most promises are kept, not the "
            "same share of every class.",
        ],
    ),
)
