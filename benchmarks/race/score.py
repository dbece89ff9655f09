"""From samples to the scoreboard: medians with their spread, ratios within rounds, fractions of the roofline, bars."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from race.rounds import Record

QUIET_FRAC = 0.05

Board = dict[str, dict[str, float]]

# What the project promises: who, against whom (the best of them), at which points, at least how many times as fast.
BARS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], float], ...] = (
    ("headway", ("openvino", "vllm"), ("b8c128", "b32c128", "p512"), 1.0),
    ("headway", ("transformers",), ("b1c128", "b8c128", "b32c128"), 2.5),
    ("headway", ("llamacpp", "llamacpp-q8"), ("b32c128",), 1.4),
    ("headway", ("roofline",), ("b32c128",), 0.8),
    ("headway-int8", ("openvino-int8",), ("b8c128", "b32c128"), 1.2),
    ("headway-torch", ("openvino",), ("b8c128", "b32c128"), 0.75),
)


def summary(record: Record) -> dict[str, Any]:
    """Return one contender's figures: the median over all samples, the quarter below and above it, and how many."""
    if not record.rounds:
        return {"kind": record.entrant.kind, "out": record.why_out}
    found: dict[str, Any] = {
        "kind": record.entrant.kind,
        "version": record.version,
        "load_s": record.load_s,
        "peak_rss_bytes": record.peak_rss_bytes,
        "others_busy_frac": max(record.others_busy_frac),
        "tokens_per_s": {point: _spread(_all_samples(record, point)) for point in _points(record)},
    }
    return {**found, "out": record.why_out} if record.why_out else found


def ratio(one: Record, other: Record, point: str) -> float | None:
    """Return how many times as fast `one` is: the median, over the rounds both have, of the ratio within a round."""
    pairs = zip(one.rounds, other.rounds, strict=False)
    found = [
        statistics.median(a[point]) / statistics.median(b[point]) for a, b in pairs if a.get(point) and b.get(point)
    ]
    return statistics.median(found) if found else None


def ratios(records: list[Record]) -> dict[str, Board]:
    """Relate every Headway contender to every peer, point by point."""
    own = [record for record in records if record.entrant.peer == "headway"]
    peers = [record for record in records if record.entrant.peer != "headway"]
    return {a.entrant.name: {b.entrant.name: _ratio_row(a, b) for b in peers if b.rounds} for a in own}


def roofline_fracs(records: list[Record], roofline: Board) -> Board:
    """Return what fraction of its roofline each contender's median reaches."""
    return {
        record.entrant.name: {
            point: statistics.median(_all_samples(record, point)) / roofline[record.entrant.kind][point]
            for point in _points(record)
        }
        for record in records
        if record.rounds and roofline
    }


def bars(between: dict[str, Board], fracs: Board, noise: dict[str, float]) -> list[dict[str, Any]]:
    """Hold the figures against what is promised; open where a peer is missing or a side was disturbed."""
    return [
        verdict
        for who, others, points, need in BARS
        for point in points
        if (verdict := _verdict(who, others, point, need, between, fracs, noise))
    ]


def noise(records: list[Record]) -> dict[str, float]:
    """Return, by contender, the greatest share of the processors that other work took during one of its turns."""
    return {record.entrant.name: max(record.others_busy_frac) for record in records if record.others_busy_frac}


def _verdict(
    who: str,
    others: tuple[str, ...],
    point: str,
    need: float,
    between: dict[str, Board],
    fracs: Board,
    noise: dict[str, float],
) -> dict[str, Any] | None:
    against = {**between.get(who, {}), "roofline": fracs.get(who, {})}
    got = {other: against[other][point] for other in others if point in against.get(other, {})}
    if not got:
        return None
    least, why_open = min(got.values()), ""
    if any(noise.get(name, 0.0) > QUIET_FRAC for name in (who, *got)):
        why_open = "other work disturbed a side"
    elif least >= need and len(got) < len(others):
        why_open = "a peer is missing"
    met = None if why_open else least >= need
    return {
        "who": who,
        "against": list(others),
        "point": point,
        "need": need,
        "got": least,
        "met": met,
        "open": why_open,
    }


def _ratio_row(one: Record, other: Record) -> dict[str, float]:
    pairs = ((point, ratio(one, other, point)) for point in _points(one))
    return {point: value for point, value in pairs if value is not None}


def _points(record: Record) -> list[str]:
    return list(dict.fromkeys(point for round_ in record.rounds for point in round_))


def _all_samples(record: Record, point: str) -> list[float]:
    return [sample for round_ in record.rounds for sample in round_.get(point, [])]


def _spread(samples: Iterable[float]) -> dict[str, float]:
    ordered = sorted(samples)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    return {"median": statistics.median(ordered), "low": low, "high": high, "samples": len(ordered)}
