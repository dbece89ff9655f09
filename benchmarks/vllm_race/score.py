"""What a run comes to: how many of the promised requests were within their bounds, as their senders felt it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from headway.app.bench.answer import Answer
from vllm_race.bounds import Bounds
from vllm_race.driver import is_whole
from vllm_race.workload import Row

BEST_EFFORT = "batch"


def score(rows: Sequence[Row], answers: Sequence[Answer], bounds: Mapping[str, Bounds]) -> dict[str, Any]:
    """Count; a request that was turned away, lost or never sent has missed its promise."""
    pairs = list(zip(rows, answers, strict=True))
    by_class = {
        name: _of_class([pair for pair in pairs if pair[0].slo_class == name], bounds.get(name))
        for name in (*bounds, BEST_EFFORT)
    }
    promised = [by_class[name] for name in bounds]
    num = sum(found["num"] for found in promised)
    ends = [answer.last_s for answer in answers if answer.completed]
    took_s = max(ends, default=0.0) - min((answer.sent_s for answer in answers if answer.sent_s), default=0.0)
    tokens = sum(answer.output_tokens for answer in answers if answer.completed)
    return {
        "good_frac": sum(found["num_good"] for found in promised) / num,
        "num": num,
        "by_class": by_class,
        "tokens_per_s": tokens / took_s if took_s else 0.0,
        "worst_lag_s": max(answer.sent_s - row.at_s for row, answer in pairs if row.after < 0 and answer.sent_s),
    }


def is_good(row: Row, answer: Answer, promised: Bounds) -> bool:
    """Tell whether a request was given all that it was promised."""
    return is_whole(row, answer) and answer.ttft_s <= promised.ttft_s and answer.tpot_s <= promised.tpot_s


def _of_class(pairs: Sequence[tuple[Row, Answer]], promised: Bounds | None) -> dict[str, Any]:
    served = [answer for row, answer in pairs if is_whole(row, answer)]
    found: dict[str, Any] = {"num": len(pairs), "num_served": len(served)}
    found["num_turned_away"] = sum(_is_turned_away(row, answer) for row, answer in pairs)
    if promised is not None:
        found["num_good"] = sum(is_good(row, answer, promised) for row, answer in pairs)
        found["num_late_first"] = sum(answer.ttft_s > promised.ttft_s for answer in served)
        found["num_slow_tokens"] = sum(answer.tpot_s > promised.tpot_s for answer in served)
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        values = [getattr(answer, metric) for answer in served]
        if values:
            found[f"p50_{metric}"] = statistics.median(values)
            found[f"p90_{metric}"] = sorted(values)[int(0.9 * (len(values) - 1))]
    return found


def _is_turned_away(row: Row, answer: Answer) -> bool:
    """Tell whether the server answered, and gave nothing."""
    return answer.status == 429 or (answer.completed and answer.output_tokens == 0 and row.output_tokens > 0)
