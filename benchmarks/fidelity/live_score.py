"""How far virtual time is from a live run, in numbers and as a table."""

from __future__ import annotations

from typing import Any

import numpy as np

METRICS = ("ttft_s", "tpot_s", "e2e_s")
PERCENTS = (50, 90)
TARGETS = {50: 0.05, 90: 0.10}
QUIET_FRAC = 0.05
"""Where other work takes a larger share of the processors, no target is judged: nobody can foresee it."""
KINDS = {"errors": "virtual / live - 1", "errors_with_own_prices": "with prices of the run itself"}


def percentiles(columns: dict[str, Any]) -> dict[str, float]:
    """Return the percentiles that are compared, in seconds."""
    return {
        f"p{percent}_{metric}": float(np.nanpercentile(columns[metric], percent))
        for percent in PERCENTS
        for metric in METRICS
    }


def errors(virtual: dict[str, Any], live: dict[str, Any]) -> dict[str, float]:
    """Return by which share each percentile is off."""
    ours = percentiles(virtual)
    return {name: ours[name] / value - 1 for name, value in percentiles(live).items()}


def request_errors(virtual: dict[str, Any], live: dict[str, Any]) -> dict[str, float]:
    """Return by which share the request in the middle is off, without a sign."""
    return {metric: float(np.nanmedian(np.abs(virtual[metric] / live[metric] - 1))) for metric in METRICS}


def summary(rows: list[dict[str, Any]], others_busy_frac: float) -> dict[str, Any]:
    """Return medians of the absolute errors over runs, all metrics together and each by itself."""
    is_quiet = others_busy_frac <= QUIET_FRAC
    found: dict[str, Any] = {"is_quiet": is_quiet}
    for percent in PERCENTS:
        off = {metric: [abs(row["errors"][f"p{percent}_{metric}"]) for row in rows] for metric in METRICS}
        own = [abs(row["errors_with_own_prices"][f"p{percent}_{metric}"]) for row in rows for metric in METRICS]
        found[f"p{percent}_median"] = float(np.median(np.concatenate(list(off.values()))))
        found |= {f"p{percent}_{metric}_median": float(np.median(values)) for metric, values in off.items()}
        found[f"p{percent}_worst"] = max(max(values) for values in off.values())
        found[f"p{percent}_median_with_own_prices"] = float(np.median(own))
        found[f"p{percent}_met"] = found[f"p{percent}_median"] <= TARGETS[percent] if is_quiet else None
    return found


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    names = [f"p{percent}_{metric}" for percent in PERCENTS for metric in METRICS]
    for key, title in KINDS.items():
        print(f"{title:30}" + "".join(f"{name.removesuffix('_s'):>10}" for name in names) + "   steps")
        for row in found["runs"]:
            cells = "".join(f"{row[key][name]:+10.1%}" for name in names)
            print(f"{row['policy']:18}{row['load_frac']:7.0%}     {cells}{row['steps']['total_frac']:+8.1%}")
    said = found["summary"]
    for percent, target in TARGETS.items():
        median, worst, own = (said[f"p{percent}_{what}"] for what in ("median", "worst", "median_with_own_prices"))
        print(f"p{percent}: median {median:.1%}, worst {worst:.1%}; target {target:.0%}; with own prices {own:.1%}")
    shares = ", ".join(f"{share:.0%} ({name})" for name, share in found["others_busy_frac"].items())
    print(f"other work took of the processors: {shares}")
    if not said["is_quiet"]:
        print(f"That is more than {QUIET_FRAC:.0%}: no target is judged. Run it again on a quiet machine.")
