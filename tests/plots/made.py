"""Runs made up for drawing."""

from __future__ import annotations

import numpy as np

from headway.core.report import Report
from headway.core.scenario import Outcome


def report(policy: str = "serving/sarathi", seed: int = 0) -> Report:
    """Return a report without numbers."""
    return Report(
        policy=policy,
        seed=seed,
        duration_s=60.0,
        num_events=0,
        num_actions=0,
        num_refused=0,
        refused={},
        decide_s={},
        numbers={},
        slos=[],
    )


def outcome(seed: int = 0, num_works: int = 200, num_resources: int = 2, num_spans: int = 300) -> Outcome:
    """Return a run with everything that can be drawn; one request has one token, and so no time per token."""
    rng = np.random.default_rng(seed)
    queue_s = rng.exponential(0.2, num_works)
    ttft_s = queue_s + rng.exponential(0.3, num_works)
    tpot_s = np.where(np.arange(num_works) == 3, np.nan, 0.02)
    works = {
        "arrival_s": rng.permutation(np.cumsum(rng.exponential(0.2, num_works))),
        "queue_s": queue_s,
        "ttft_s": ttft_s,
        "tpot_s": tpot_s,
        "e2e_s": ttft_s + rng.exponential(2, num_works),
        "good": ttft_s < 1,
        "row": np.arange(num_works) + 1000,
    }
    names = np.array([f"main-{place}" for place in range(num_resources)])
    at_s = np.repeat(np.linspace(0, 60, 50), num_resources)
    samples = {
        "at_s": at_s,
        "resource": np.tile(names, 50),
        "waiting": rng.integers(0, 20, len(at_s)),
        "running": rng.integers(0, 64, len(at_s)),
        "kv_used_frac": rng.uniform(0, 1, len(at_s)),
        "watts": np.where(at_s > 0, 300.0, np.nan),
    }
    start_s = rng.permutation(np.sort(rng.uniform(0, 60, num_spans)))
    spans = {
        "start_s": start_s,
        "end_s": start_s + rng.exponential(0.3, num_spans),
        "resource": rng.choice(names, num_spans),
        "name": rng.choice(["prefill", "decode"], num_spans),
    }
    return Outcome(report(seed=seed), works, samples, spans)
