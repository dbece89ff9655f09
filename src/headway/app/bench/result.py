"""The result of a benchmark as one JSON object, and the file it goes to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from headway.app.bench.answer import Answer


def details(answers: Sequence[Answer]) -> dict[str, list[Any]]:
    """Return one list per fact, with one entry per request in the order of the plan; times in seconds."""
    return {
        "request_ids": [answer.id for answer in answers],
        "input_lens": [answer.input_tokens for answer in answers],
        "output_lens": [answer.output_tokens if answer.completed else 0 for answer in answers],
        "ttfts": [answer.ttft_s if answer.completed else 0.0 for answer in answers],
        "itls": [answer.itls_s for answer in answers],
        "e2els": [answer.e2e_s if answer.completed else 0.0 for answer in answers],
        "planned_times": [answer.planned_s for answer in answers],
        "start_times": [answer.sent_s for answer in answers],
        "slo_classes": [answer.slo_class for answer in answers],
        "generated_texts": [answer.text for answer in answers],
        "errors": [answer.error for answer in answers],
    }


def encode(result: Mapping[str, Any]) -> bytes:
    """Return the result as one line of JSON."""
    return msgspec.json.encode(result)


def file_name(label: str, rate_per_s: float | None, max_concurrency: int | None, model: str, now: datetime) -> str:
    """Name a result file by what distinguishes the run."""
    rate = "trace" if rate_per_s is None else "inf" if math.isinf(rate_per_s) else f"{rate_per_s:g}"
    limit = f"-concurrency{max_concurrency}" if max_concurrency else ""
    return f"{label}-{rate}qps{limit}-{Path(model).name}-{now:%Y%m%d-%H%M%S}.json"


def save(path: Path, result: Mapping[str, Any]) -> None:
    """Write the result to `path`, making its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(result) + b"\n")
