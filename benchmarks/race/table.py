"""The scoreboard as tables in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from race.score import QUIET_FRAC


def show(report: dict[str, Any], console: Console) -> None:
    """Print speeds, ratios and bars."""
    machine = report["machine"]
    console.print(f"{machine['processor']}, {machine['threads']} threads; {report['model']['name']}; {machine['date']}")
    console.print(_speeds(report))
    if any(report["ratios"].values()):
        console.print(_ratios(report))
    for bar in report["bars"]:
        console.print(_verdict(bar))
    noise = max((found.get("others_busy_frac", 0.0) for found in report["contenders"].values()), default=0.0)
    if noise > QUIET_FRAC:
        console.print(f"[yellow]Other work took up to {noise:.0%} of the processors: rely on no figure here.[/]")


def _verdict(bar: dict[str, Any]) -> str:
    word = {True: "[green]met[/]", False: "[red]missed[/]", None: f"[yellow]open[/] ({bar['open']})"}[bar["met"]]
    against = " and ".join(bar["against"])
    return f"{word} {bar['who']} / {against} at {bar['point']}: {bar['got']:.2f}, promised {bar['need']}"


def _speeds(report: dict[str, Any]) -> Table:
    points = report["points"]
    table = Table(*["tokens/s (share of roofline)", *points, "peak RSS", "others"], title="Median, quartiles below")
    for name, found in report["contenders"].items():
        if "tokens_per_s" not in found:
            table.add_row(name, *[""] * len(points), found["out"].split(":")[0])
            continue
        fracs = report["roofline_frac"].get(name, {})
        cells = [_cell(found["tokens_per_s"].get(point), fracs.get(point)) for point in points]
        table.add_row(name, *cells, f"{found['peak_rss_bytes'] / 1e9:.1f} GB", f"{found['others_busy_frac']:.0%}")
    for kind, limits in report["roofline_tokens_per_s"].items():
        table.add_row(f"roofline {kind}", *[f"{limits[point]:.0f}" for point in points], "")
    return table


def _cell(speed: dict[str, float] | None, frac: float | None) -> str:
    if speed is None:
        return "-"
    share = f" ({frac:.0%})" if frac is not None else ""
    return f"{speed['median']:.1f}{share}\n[dim]{speed['low']:.1f}–{speed['high']:.1f}[/]"


def _ratios(report: dict[str, Any]) -> Table:
    table = Table(*["ratio", *report["points"]], title="Times as fast (median of ratios within rounds)")
    for own, others in report["ratios"].items():
        for other, row in others.items():
            cells = [f"{row[point]:.2f}" if point in row else "-" for point in report["points"]]
            table.add_row(f"{own} / {other}", *cells)
    return table
