"""How far policies are from the best possible, and the clairvoyant between them.

There is no publication: the clairvoyant and the bound are anchors of this project, against which the others are held.
"""

from __future__ import annotations

from headway.app.reproduce.claim import Below, Claim, Of, rising
from headway.app.reproduce.claims import oracle_settings as settings

GUESSING = [name for name in settings.POLICIES if name != "oracle"]

CLAIMS = (
    Claim(
        id="gap",
        text="No policy carries more than the bound; the clairvoyant, which knows true lengths, carries more than "
        "whoever ignores promises, and about as much as the best of those who regard them.",
        source="this project",
        hardware="none",
        here="Virtual time: Llama-3.1-8B on 1 A100-80GB, 400 requests like the Azure conversations, promised a first "
        "token in 1 s and the others every 50 ms",
        ours="oracle",
        contestants={
            "possible": "the bound on any policy: every span of time has room for what falls due within it",
            "oracle": "the clairvoyant: the most prompts that can be in time, steps as long as running requests allow",
            "slos-serve": "SLOs-Serve with its defaults",
            "sarathi": "Sarathi-Serve, budget 512",
            "vllm-v1": "vLLM V1 with its defaults",
            "vllm": "vLLM with its defaults",
        },
        measure=settings.gap,
        directions=[
            *(Below(Of(name, "rate_at_90_per_s"), Of("possible", "rate_at_90_per_s")) for name in settings.POLICIES),
            *(Below(Of(name, "overload_frac"), Of("possible", "overload_frac")) for name in settings.POLICIES),
            *rising("rate_at_90_per_s", "sarathi", "oracle"),
            *rising("rate_at_90_per_s", "vllm-v1", "oracle"),
            *rising("overload_frac", "sarathi", "oracle"),
            *rising("overload_frac", "slos-serve", "oracle"),
        ],
        notes=[
            "rate_at_90_per_s is the largest rate at which 90% of the requests are served as promised; of the bound, "
            "the smallest at which that is known to be impossible. overload_frac is the share at 10 per second.",
            "Part of the gap is the bound's, above all in short runs, where much work may lie behind the last arrival "
            "up to its deadline: with seed 0 the bound falls below 0.9 at 17 per second with 400 requests, at 12 with "
            "1,000 or 2,000; there the clairvoyant has 0.90 at 9. Of the price of a step with prompts and decodes the "
            "bound counts 88% or so.",
        ],
    ),
)
