"""Medians over rounds, ratios within them, and whether the bars are met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Rounds = Mapping[str, Sequence[Mapping[str, Any]]]
"""By contender, what each of its rounds printed."""

TARGETS = {
    ("one", "requests_per_s"): (">=", 13_000.0),
    ("one", "output_tokens_per_s"): (">=", 3e6),
    ("one", "peak_rss_mb"): ("<=", 170.0),
    ("fleet", "requests_per_s"): (">=", 4_000.0),
    ("sweep", "wall_s"): ("<=", 2.0),
    ("steps", "steps_per_s"): (">=", 100_000.0),
}
FLAT_TIMES = 1.2
"""The processor time per request of the longest run may be so many times that of the cheapest shorter one."""


def rates(found: Mapping[str, Any]) -> dict[str, float]:
    """Turn what a round printed into the figures that are reported."""
    took_s, cpu_s = found["simulate_s"], max(found["simulate_cpu_s"], 1e-9)
    figures = {
        "requests_per_s": found["num_requests"] / took_s,
        "output_tokens_per_s": found["num_output_tokens"] / took_s,
        "requests_per_cpu_s": found["num_requests"] / cpu_s,
        "output_tokens_per_cpu_s": found["num_output_tokens"] / cpu_s,
        "request_cpu_us": cpu_s / found["num_requests"] * 1e6,
        "simulate_s": took_s,
        "simulate_cpu_s": found["simulate_cpu_s"],
        "wall_s": found["wall_s"],
        "cpu_s": found["cpu_s"],
        "peak_rss_mb": found["peak_rss_mb"],
        "others_busy_frac": found["others_busy_frac"],
        "spin_ns": statistics.fmean(found["spins_ns"]),
    }
    if found.get("num_steps"):
        figures |= {"steps_per_s": found["num_steps"] / took_s, "steps_per_cpu_s": found["num_steps"] / cpu_s}
    if found.get("loop_s"):
        figures |= {"loop_s": found["loop_s"], "requests_per_loop_s": found["num_requests"] / found["loop_s"]}
    return figures


def summary(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the medians over the rounds, the range of what counts, and what the simulation came to."""
    figures = [rates(found) for found in rounds]
    medians = {name: statistics.median([each[name] for each in figures]) for name in figures[0]}
    spread = [min(each["requests_per_s"] for each in figures), max(each["requests_per_s"] for each in figures)]
    last = rounds[-1]
    counts = {
        name: last[name]
        for name in ("num_requests", "num_output_tokens", "num_steps", "version", "compiled")
        if name in last
    }
    return {**medians, "requests_per_s_range": spread, **counts, "num_rounds": len(rounds), "simulated": last["facts"]}


def ratios(rounds: Rounds) -> dict[str, dict[str, float]]:
    """Return, by peer, the medians of our figures over its figures of the same round."""
    ours = [rates(found) for found in rounds["headway"]]
    found: dict[str, dict[str, float]] = {}
    for name, theirs in rounds.items():
        if name == "headway":
            continue
        pairs = list(zip(ours, map(rates, theirs), strict=False))
        found[name] = {
            figure: statistics.median([us[figure] / them[figure] for us, them in pairs])
            for figure in ("requests_per_s", "requests_per_cpu_s", "output_tokens_per_s", "peak_rss_mb", "wall_s")
        }
        if "requests_per_loop_s" in rates(theirs[0]):
            found[name]["requests_per_s_to_loop"] = statistics.median(
                [us["requests_per_s"] / them["requests_per_loop_s"] for us, them in pairs]
            )
    return found


def same_result(rounds: Rounds) -> bool:
    """Tell whether all rounds of ours, compiled or not, came to the same to the last bit."""
    facts = [each["facts"] for name, by in rounds.items() if name.startswith("headway") for each in by]
    return all(each == facts[0] for each in facts)


def bars(cases: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Hold the medians of our cases against the targets."""
    found = []
    for (case, figure), (sign, target) in TARGETS.items():
        if case in cases:
            value = cases[case][figure]
            met = value >= target if sign == ">=" else value <= target
            found.append(
                {"case": case, "figure": figure, "target": f"{sign} {target:g}", "measured": value, "met": met}
            )
    flat = [row["request_cpu_us"] for name, row in cases.items() if name.startswith("flat-")]
    if len(flat) > 1:
        times = flat[-1] / min(flat[:-1])
        row = {
            "case": "flat",
            "figure": "request_cpu_us, longest run over the best shorter one",
            "target": f"<= {FLAT_TIMES:g}",
        }
        found.append({**row, "measured": times, "met": times <= FLAT_TIMES})
    return found
