"""Length models by name: distributions that published comparisons used."""

from __future__ import annotations

from headway.traces.generate.lengths import AnyLengths, LogNormal, Quantiles

LEVELS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)

NAMED: dict[str, AnyLengths] = {
    # Prompt: median 1,730, P90 5,696; output: 415, P90 834; both together at most 8,192. A log-normal cut off at 8,192
    # cannot have such a prompt P90, so the table follows the log-normal through both quantiles up to there, and runs
    # straight to the bound from there on.
    "openchat-sharegpt4": Quantiles(
        levels=LEVELS,
        prompt=(20, 199, 375, 525, 924, 1750, 3320, 5860, 6950, 8000),
        output=(10, 117, 169, 206, 287, 415, 599, 834, 1020, 2000),
        max_tokens=8192,
    ),
    # Prompt: median 7,059, P90 12,985; output: 208, P90 371; both together at most 16,384, which the parameters allow
    # for: drawn lengths have these quantiles after those beyond the bound are drawn again.
    "arxiv-summarization": LogNormal(
        prompt_median=7874.5, prompt_sigma=0.64812, output_median=207.9, output_sigma=0.4535, max_tokens=16_384
    ),
}
"""Fitted to the two data sets of Agrawal et al., "Taming Throughput-Latency Tradeoff in LLM Inference with
Sarathi-Serve", 2024, arXiv 2403.02310, table 2: their medians, P90 and bounds; all else is this project's guess."""
