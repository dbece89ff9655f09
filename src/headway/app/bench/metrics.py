"""From accounts to numbers, under the names that users of vLLM's load generator know.

Definitions: TTFT is from sending to the first text; TPOT is the rest of the request divided by its output tokens less
one (only requests with two or more); ITL are the gaps between pieces of text, of all requests together; E2EL is from
sending to the end of the output. Only completed requests are measured. A number that does not exist is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from headway.app.bench.answer import Answer
from headway.app.bench.objectives import SloMix, meets, met
from headway.app.bench.openloop import Run

NAMES = {"ttft": "Time to first token", "tpot": "Time per output token", "itl": "Inter-token gap", "e2el": "End to end"}


def measure(
    run: Run, percentiles: Sequence[float] = (99.0,), goodput_ms: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Compute counts, throughputs and the statistics of every metric.

    Parameters
    ----------
    run : Run
        What a run gave.
    percentiles : sequence of float
        Which percentiles, each in [0, 100]; 99 by default.
    goodput_ms : mapping of str to float or None
        Bounds in milliseconds that a good request meets; None leaves goodput out.
    """
    done = [answer for answer in run.answers if answer.completed]
    num_in, num_out = sum(a.input_tokens for a in done), sum(a.output_tokens for a in done)
    good = sum(meets(answer, goodput_ms) for answer in done) if goodput_ms else None
    seconds = run.duration_s or float("inf")
    numbers: dict[str, Any] = {
        "duration": run.duration_s,
        "completed": len(done),
        "failed": sum(bool(answer.error) for answer in run.answers),
        **account(run),
        "total_input_tokens": num_in,
        "total_output_tokens": num_out,
        "request_throughput": len(done) / seconds,
        "request_goodput": None if good is None else good / seconds,
        "output_throughput": num_out / seconds,
        "total_token_throughput": (num_in + num_out) / seconds,
        "max_output_tokens_per_s": _peak_tokens_per_s(done),
        "max_concurrent_requests": _peak_concurrency(run.answers),
        **_lags(run.answers),
    }
    for metric, values in samples(done).items():
        numbers |= statistics(metric, values, percentiles)
    return numbers


def account(run: Run) -> dict[str, int]:
    """Check that every request sent was answered once: `lost` and `duplicated` must be 0."""
    ended = [answer for answer in run.answers if answer.error != "never sent"]
    return {"sent": run.num_sent, "lost": run.num_sent - len(ended), "duplicated": _duplicated(ended)}


def samples(done: Sequence[Answer]) -> dict[str, list[float]]:
    """Gather the values of every metric, in seconds."""
    return {
        "ttft": [answer.ttft_s for answer in done],
        "tpot": [answer.tpot_s for answer in done if answer.output_tokens > 1],
        "itl": [gap for answer in done for gap in answer.itls_s],
        "e2el": [answer.e2e_s for answer in done],
    }


def statistics(metric: str, values_s: Sequence[float], percentiles: Sequence[float]) -> dict[str, float | None]:
    """Return mean, median, standard deviation and percentiles in milliseconds; None for each without values."""
    milliseconds = np.asarray(values_s, dtype=float) * 1000
    of: dict[str, Callable[[Any], Any]] = {"mean": np.mean, "median": np.median, "std": np.std}
    found = len(milliseconds) > 0
    out = {f"{name}_{metric}_ms": float(f(milliseconds)) if found else None for name, f in of.items()}
    for percentile in percentiles:
        value = float(np.percentile(milliseconds, percentile)) if found else None
        out[f"p{percentile:g}_{metric}_ms"] = value
    return out


def attainment(answers: Sequence[Answer], mix: SloMix) -> list[dict[str, Any]]:
    """Tell, per SLO class, how many requests met each bound and all of them; a failed request met none."""
    rows = []
    for name in mix.shares:
        own, bounds = [a for a in answers if a.slo_class == name], mix.bounds_ms.get(name, {})
        completed = [answer for answer in own if answer.completed]
        row: dict[str, Any] = {"slo_class": name, "sent": len(own), "completed": len(completed), "bounds_ms": bounds}
        row["met_frac"] = {m: _frac(sum(met(a, m, bound) for a in own), len(own)) for m, bound in bounds.items()}
        row["attained_frac"] = _frac(sum(meets(answer, bounds) for answer in own), len(own))
        for metric, values in samples(completed).items():
            row |= statistics(metric, values, (99.0,)) if metric != "itl" else {}
        rows.append(row)
    return rows


def errors_by_kind(answers: Sequence[Answer]) -> dict[str, int]:
    """Count equal reasons of failure, the most frequent first."""
    return dict(Counter(answer.error for answer in answers if answer.error).most_common(20))


def _duplicated(answers: Sequence[Answer]) -> int:
    ids = Counter(answer.answer_id for answer in answers if answer.answer_id)
    tells_apart = len(ids) > 1  # a server that gives one id to all answers says nothing with it
    again = sum(num - 1 for num in ids.values()) if tells_apart else 0
    return again + sum(answer.num_finishes > 1 for answer in answers)


def _frac(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _lags(answers: Sequence[Answer]) -> dict[str, float | None]:
    lags_ms = [answer.lag_s * 1000 for answer in answers]
    return {
        "mean_send_lag_ms": float(np.mean(lags_ms)) if lags_ms else None,
        "p99_send_lag_ms": float(np.percentile(lags_ms, 99)) if lags_ms else None,
        "max_send_lag_ms": max(lags_ms, default=None),
    }


def _peak_tokens_per_s(done: Sequence[Answer]) -> float:
    """The fullest second, counting pieces of text."""
    times = [time for answer in done for time in np.cumsum([answer.first_s, *answer.itls_s])]
    return float(np.bincount(np.asarray(times).astype(int)).max()) if times else 0.0


def _peak_concurrency(answers: Sequence[Answer]) -> int:
    """The most completed requests in flight at one moment."""
    spans = [(a.sent_s, a.last_s) for a in answers if a.completed]
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return int(np.cumsum([change for _, change in changes]).max()) if changes else 0
