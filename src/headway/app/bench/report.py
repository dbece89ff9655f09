"""The result of a benchmark as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from headway.app.bench.metrics import NAMES

_SUMMARY = (
    ("completed requests", "completed", ""),
    ("failed requests", "failed", ""),
    ("lost / duplicated", "", ""),
    ("duration", "duration", "s"),
    ("input tokens", "total_input_tokens", ""),
    ("output tokens", "total_output_tokens", ""),
    ("requests", "request_throughput", "/s"),
    ("good requests", "request_goodput", "/s"),
    ("output tokens", "output_throughput", "/s"),
    ("all tokens", "total_token_throughput", "/s"),
    ("fullest second", "max_output_tokens_per_s", "tokens"),
    ("most at once", "max_concurrent_requests", "requests"),
    ("largest send lag", "max_send_lag_ms", "ms"),
)


def print_report(result: Mapping[str, Any], metrics: tuple[str, ...], console: Console) -> None:
    """Print the summary, the statistics of `metrics`, the SLO classes and the reasons of failures."""
    console.print(_summary(result))
    console.print(_statistics(result, metrics))
    if result.get("slo_classes_attained"):
        console.print(_classes(result["slo_classes_attained"]))
    for reason, num in result["errors_by_kind"].items():
        console.print(f"{num} x {reason}", style="red", markup=False)
    if result["interrupted"]:
        console.print("Interrupted: these are the numbers so far.", style="yellow")


def _summary(result: Mapping[str, Any]) -> Table:
    table = Table("", "", title=f"{result['model_id']} at {result['base_url']}", show_header=False)
    table.columns[1].justify = "right"
    for name, key, unit in _SUMMARY:
        value = f"{result['lost']} / {result['duplicated']}" if not key else _number(result[key])
        if key != "request_goodput" or result[key] is not None:
            table.add_row(name, f"{value} {unit}".rstrip() if unit != "/s" else f"{value}/s")
    return table


def _statistics(result: Mapping[str, Any], metrics: tuple[str, ...]) -> Table:
    columns = list(_columns(result, metrics[0])) if metrics else []
    table = Table("milliseconds", *columns, title="Times")
    for column in table.columns[1:]:
        column.justify = "right"
    for metric in metrics:
        table.add_row(f"{NAMES[metric]} ({metric})", *(_number(result[f"{c}_{metric}_ms"]) for c in columns))
    return table


def _columns(result: Mapping[str, Any], metric: str) -> Iterator[str]:
    suffix = f"_{metric}_ms"
    return (key.removesuffix(suffix) for key in result if key.endswith(suffix))


def _classes(rows: list[dict[str, Any]]) -> Table:
    table = Table("class", "sent", "completed", "bounds met", "all met", title="SLO classes")
    for row in rows:
        bounds = [f"{m} <= {row['bounds_ms'][m]:g} ms: {_share(frac)}" for m, frac in row["met_frac"].items()]
        cells = (row["slo_class"], str(row["sent"]), str(row["completed"]))
        table.add_row(*cells, ", ".join(bounds) or "none promised", _share(row["attained_frac"]))
    return table


def _share(frac: float | None) -> str:
    return "-" if frac is None else f"{frac:.1%}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
