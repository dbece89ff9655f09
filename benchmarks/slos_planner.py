"""How long SLOs-Serve takes to plan: deciding about new requests and forming the step, whatever is running.

At random moments with so many running (every tenth amid its prompt), so many new ones and so many tiers, the seat is
asked for its next step; all of its time counts, the program, the plan of speculation and the step. The same moments
are put to plain chunked batching.

    python benchmarks/slos_planner.py --json
"""

from __future__ import annotations

import argparse
import json
import platform
from typing import Any

import numpy as np

from headway.app.reproduce.claims.slos_moments import times_s
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.slos_serve import SlosServe

BOUND_S = 10e-3
CASES = [
    {"num_new": 10, "num_running": 200, "num_tiers": 2},
    *({"num_new": num, "num_running": 200, "num_tiers": 2} for num in (1, 2, 5, 20)),
    *({"num_new": 10, "num_running": num, "num_tiers": 2} for num in (0, 50, 400)),
    *({"num_new": 10, "num_running": 200, "num_tiers": num} for num in (1, 3, 4)),
]


def measure(num_moments: int) -> list[dict[str, Any]]:
    """Return the times of every case, in milliseconds; the first is the one that is promised."""
    times_s(SlosServe(), num_moments=20)  # whatever is imported or allocated once
    found = []
    for case in CASES:
        ours = times_s(SlosServe(), **case, num_moments=num_moments) * 1e3
        plain = times_s(SarathiServe(), **case, num_moments=num_moments) * 1e3
        p50, p99 = np.percentile(ours, [50, 99]).round(3).tolist()
        plain_p50 = float(np.percentile(plain, 50))
        found.append(
            {**case, "p50_ms": p50, "p99_ms": p99, "max_ms": round(float(ours.max()), 3)}
            | {"plain_p50_ms": round(plain_p50, 3), "ratio_to_plain": round(p50 / plain_p50, 1)}
        )
    return found


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = measure(options.moments)
    passed = results[0]["p99_ms"] < BOUND_S * 1e3
    if options.json:
        machine = {"processor": platform.machine(), "python": platform.python_version()}
        bound = {"p99_ms_at_10_new_200_running": BOUND_S * 1e3, "passed": passed}
        print(json.dumps({"machine": machine, "num_moments": options.moments, "bound": bound, "results": results}))
        return
    print(f"{'new':>4} {'running':>8} {'tiers':>6} {'p50 ms':>8} {'p99 ms':>8} {'plain p50 ms':>13}")
    for row in results:
        print(
            f"{row['num_new']:>4} {row['num_running']:>8} {row['num_tiers']:>6} {row['p50_ms']:>8.2f} "
            f"{row['p99_ms']:>8.2f} {row['plain_p50_ms']:>13.3f}"
        )
    print("10 new beside 200: p99", "within" if passed else "NOT within", f"{BOUND_S * 1e3:g} ms")


if __name__ == "__main__":
    main()
