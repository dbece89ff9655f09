"""How far virtual time is from a recorded run of a real server, request by request.

    python benchmarks/fidelity.py recorded RUN.jsonl.gz [--meta RUN.meta.json] [--onto OTHER.jsonl.gz] [--json]

The run's requests are played with `serving/vllm-v1` under the settings in the run's meta file. Five numbers are fitted:
the shares of the accelerator's peaks that products (arithmetic, reading weights) and decode attention (reading KV)
reach, and the engine's own time per step and per request. The fit sees the times to first token and per output token
of the first half of the requests, by arrival; it simulates the whole run, as every prediction does, for who comes later
meets the queue that the earlier left. The second half is the test.

Beside the fit stand predictions that have not seen the run's requests: *borrowed*, the kernels of the accelerator from
which others borrow where none were measured, and *shipped*, the efficiencies that come with Headway (those of the RTX
cards were fitted by `tools/fit_run.py` to the per-second counters of the first half of these very runs). With `--onto`,
what was fitted here is carried over to a run on other hardware: the engine's times alone, and the shares as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from fidelity.server_runs import LENDER, METRICS, Floats, Knobs, Run, borrowed
from headway.sim.serving.cost.efficiency import efficiency, engine

NOISE_S = 0.02
"""Added to times to first token before their ratios are fitted: about one step, below which they say little."""
ANCHOR = 0.1
"""How much it costs the fit to leave its start: an e-fold of one number as much as 2 % of error."""


def fit(run: Run, num_train: int, max_plays: int = 220) -> Knobs:
    """Fit to the first requests of a run, by the mean absolute logarithm of the ratio to what was measured."""
    from scipy.optimize import minimize

    first, measured = np.array(borrowed()), run.measured
    rows = slice(0, num_train)

    def off(moves: Floats) -> float:
        times = run.play(run.fitted(Knobs(*(first * np.exp(moves)))))
        ttft = np.log((times["ttft_s"] + NOISE_S) / (measured["ttft_s"] + NOISE_S))[rows]
        tpot = np.log(times["tpot_s"] / measured["tpot_s"])[rows]
        return float(np.abs(ttft).mean() + np.nanmean(np.abs(tpot)) + ANCHOR * np.mean(moves**2))

    simplex = np.vstack([np.zeros(5), np.diag([0.15, 0.15, 0.15, 0.5, 0.5])])
    options = {"maxfev": max_plays, "initial_simplex": simplex, "xatol": 3e-3, "fatol": 2e-4}
    best = minimize(off, np.zeros(5), method="Nelder-Mead", options=options).x
    return Knobs(*(float(f"{value:.4g}") for value in first * np.exp(best)))


def score(run: Run, times: Mapping[str, Floats], rows: slice) -> dict[str, Any]:
    """Hold some requests of a played run against the recorded one."""
    found: dict[str, Any] = {}
    for name in METRICS:
        played, real = times[name][rows], run.measured[name][rows]
        gaps = played / real - 1
        entry = {"median_abs_error": float(np.nanmedian(np.abs(gaps))), "bias": float(np.nanmedian(gaps))}
        for percent in (50, 90):
            pair = float(np.nanpercentile(real, percent)), float(np.nanpercentile(played, percent))
            entry |= {f"p{percent}_measured": pair[0], f"p{percent}_played": pair[1]}
            entry[f"p{percent}_error"] = pair[1] / pair[0] - 1
        found[name] = entry
    rates = [_tokens_per_s(run, felt["e2e_s"], rows) for felt in (run.measured, times)]
    found["output_tokens_per_s"] = {"measured": rates[0], "played": rates[1], "error": rates[1] / rates[0] - 1}
    return found


def _tokens_per_s(run: Run, e2e_s: Floats, rows: slice) -> float:
    arrival_s = run.table.arrival_s[rows]
    return float(run.table.output_tokens[rows].sum() / ((arrival_s + e2e_s[rows]).max() - arrival_s.min()))


def predictions(run: Run, knobs: Knobs) -> dict[str, dict[str, Floats]]:
    """Play a run in every way that does not look at its second half."""
    shipped = efficiency(run.accelerator.name)
    return {
        "borrowed": run.play(run.replica(efficiency(LENDER), engine("vllm"))),
        "shipped": run.play(run.replica(shipped, engine("vllm"))),
        "fitted": run.play(run.fitted(knobs)),
        "fitted, not ahead": run.play(run.fitted(knobs), ahead=False),
    }


def carried(run: Run, knobs: Knobs) -> dict[str, dict[str, Floats]]:
    """Play a run with what was fitted to another; all of it is the test."""
    timed = replace(engine("vllm"), step_s=knobs.step_s, sequence_s=knobs.sequence_s)
    return {
        "engine's times": run.play(run.replica(efficiency(LENDER), timed)),
        "engine's times and shares": run.play(run.fitted(knobs)),
    }


def states(run: Run, knobs: Knobs) -> dict[str, dict[str, float]]:
    """Hold the counters of a played run, second by second, against the server's own; the fit has not seen these."""
    counted = run.counters()
    if not counted:
        return {}
    samples = run.outcome(run.fitted(knobs)).samples
    latest = np.maximum(np.searchsorted(samples["at_s"], counted.pop("at_s"), side="right") - 1, 0)
    found = {}
    for name, real in counted.items():
        played = samples[name][latest].astype(np.float64)
        gap = float(np.abs(played - real).mean())
        found[name] = {"measured": float(real.mean()), "played": float(played.mean()), "mean_abs_gap": gap}
    return found


def report(run: Run, others: list[Run], train_frac: float = 0.5) -> dict[str, Any]:
    """Fit and score."""
    num_train = round(len(run.table) * train_frac)
    knobs = fit(run, num_train)
    parts = {"train": slice(0, num_train), "test": slice(num_train, None), "all": slice(None)}
    rows = {
        name: {part: score(run, times, where) for part, where in parts.items()}
        for name, times in predictions(run, knobs).items()
    }
    onto = {
        other.path.name: {name: score(other, times, slice(None)) for name, times in carried(other, knobs).items()}
        for other in others
    }
    return {
        "benchmark": "fidelity/recorded",
        "target": "error of p50 of TTFT, TPOT, E2E and throughput <= 10 % on the test half",
        "run": run.path.name,
        "accelerator": run.accelerator.name,
        "num_requests": len(run.table),
        "fitted_on": f"the first {num_train} requests by arrival",
        "start": borrowed()._asdict(),
        "fit": knobs._asdict(),
        "predictions": rows,
        "counters": states(run, knobs),
        "carried_onto": onto,
    }


def show(found: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{found['run']}, {found['accelerator']}; fitted on {found['fitted_on']}:")
    print(", ".join(f"{name} {value:.4g}" for name, value in found["fit"].items()))
    heads = "".join(f"{name:>27}" for name in ("TTFT", "TPOT", "E2E"))
    print(f"{'error of p50 / p90 (per request)':36}{heads}{'tokens/s':>10}")
    for name, parts in found["predictions"].items():
        for part, row in parts.items():
            print(f"{f'{name}, {part}':36}{_cells(row)}")
    for name, row in found["counters"].items():
        what = f"{row['measured']:.2f}, played {row['played']:.2f}, {row['mean_abs_gap']:.2f} apart"
        print(f"{name}, second by second: on average {what}")
    for other, ways in found["carried_onto"].items():
        print(f"carried onto {other}:")
        for name, row in ways.items():
            print(f"{name:36}{_cells(row)}")


def _cells(row: dict[str, Any]) -> str:
    text = ""
    for name in METRICS:
        one = row[name]
        text += f"{one['p50_error']:+9.1%} {one['p90_error']:+7.1%} ({one['median_abs_error']:6.1%})"
    return text + f"{row['output_tokens_per_s']['error']:+10.1%}"


def add(choices: Any) -> None:
    """Declare the part's arguments."""
    parser = choices.add_parser("recorded", help="recorded runs of GPU servers, request by request")
    parser.add_argument("file", type=Path, help="a log of JSON lines, .gz or not")
    parser.add_argument("--meta", type=Path, help="the run's settings; FILE.meta.json by default")
    parser.add_argument("--accelerator", default="", help="what it ran on; what the settings say by default")
    parser.add_argument("--onto", type=Path, action="append", default=[], help="carry the fit over to this run")
    parser.add_argument("--train-frac", type=float, default=0.5, help="share of the requests that the fit sees")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Read, fit, compare."""
    return report(
        Run(options.file, options.meta, options.accelerator), [Run(path) for path in options.onto], options.train_frac
    )
