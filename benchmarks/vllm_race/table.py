"""What the race came to, as tables in the terminal."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.table import Table

QUIET_FRAC = 0.05


def show(found: dict[str, Any], console: Console) -> None:
    """Print the parts that were run."""
    about = found["machine"]
    console.print(f"{about['processor']}; {found['vllm']}; {about['date']}")
    noise = 0.0
    if "plain" in found:
        console.print(_plain(found["plain"]))
        noise = max(row["others_busy_frac"] for one in found["plain"].values() for row in one["rounds"])
    if "clock" in found:
        console.print(_carried(found["clock"], "Times the recipe's load"))
        console.print(_shares(found["clock"]))
    if "mixed" in found:
        part = found["mixed"]
        console.print(_carried(part, "Requests per second"))
        console.print(_points(part))
        points = [point for points in part["points"].values() for point in points]
        noise = max(noise, *(point["others_busy_frac"] for point in points))
    if noise > QUIET_FRAC:
        console.print(f"[yellow]Other work took up to {noise:.0%} of the processors: rely on no figure here.[/]")


def _plain(part: dict[str, Any]) -> Table:
    table = Table("contender", "tokens/s", "beside vllm", "95%", title="Plain throughput, median of rounds")
    for name, one in part.items():
        cells = f"{one['tokens_per_s']:.0f}", f"{one['ratio']:.3f}", _between(one["low"], one["high"], 3)
        table.add_row(name, *cells)
    return table


def _carried(part: dict[str, Any], what: str) -> Table:
    title = f"{what} with {part['level']:.0%} of the promised ones within their bounds"
    table = Table("contender", "carried", "95%", "beside vllm", "95%", title=title)
    for name, one in part["contenders"].items():
        mark = "" if one["is_bracketed"] else " (not bracketed)"
        own, beside = (_between(one[f"{what}_low"], one[f"{what}_high"], 2) for what in ("load", "ratio"))
        table.add_row(name, f"{one['load_found']:.2f}{mark}", own, f"{one['ratio_found']:.2f}", beside)
    return table


def _between(low: float, high: float, places: int) -> str:
    return "" if math.isnan(low) else f"{low:.{places}f} to {high:.{places}f}"


def _shares(part: dict[str, Any]) -> Table:
    classes = list(next(iter(part["points"].values()))[0]["by_class"])
    table = Table("contender", "load", "good", *classes, "turned away", title="Share of good requests, by the clock")
    for name, points in part["points"].items():
        for point in points:
            cells = [f"{point['by_class'][each]:.2f}" for each in classes]
            table.add_row(
                name, f"{point['load']:.2f}", f"{point['good_frac']:.3f}", *cells, str(point["num_turned_away"])
            )
    return table


def _points(part: dict[str, Any]) -> Table:
    classes = list(part["bounds"])
    table = Table(
        "contender", "requests/s", "good", *classes, "turned away", "batch E2E", title="Share of good requests"
    )
    for name, points in part["points"].items():
        for point in points:
            cells = [f"{point['by_class'][each]:.2f}" for each in classes]
            good, batch = f"{point['good_frac']:.3f}", f"{point['batch_p50_e2e_s']:.1f} s"
            table.add_row(name, f"{point['rate_per_s']:.2f}", good, *cells, str(point["num_turned_away"]), batch)
    return table
