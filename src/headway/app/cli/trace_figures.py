"""Figures of a trace: when requests arrived, and how long they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headway.plots.chart import Chart, Panels
from headway.plots.charts.arrivals import arrivals
from headway.plots.charts.lengths import lengths
from headway.plots.page import Page
from headway.plots.save import save
from headway.traces.table import RequestTable


def draw(table: RequestTable, path: Path, name: str) -> None:
    """Draw a trace into an image, or a page that zooms.

    Parameters
    ----------
    table : RequestTable
        The requests.
    path : Path
        Where to; its suffix says what it becomes.
    name : str
        What the trace is called.
    """
    charts = figures(table)
    if path.suffix.lower() == ".html":
        page = Page(name, about=f"{len(table):,} requests.")
        for chart in charts:
            page.section(chart.title, chart)
        page.write(path)
    else:
        save(Panels(name, tuple(charts), share_x=False) if len(charts) > 1 else charts[0], path)


def figures(table: RequestTable) -> list[Chart]:
    """Return the charts of a trace; one without times has no arrivals."""
    found = [_arrivals(table)] if table.duration_s > 0 else []
    return [*found, lengths({"prompt": table.prompt_tokens, "output": table.output_tokens})]


def _arrivals(table: RequestTable) -> Chart:
    # One curve needs no name, and its axis is short where two charts stand on one sheet.
    chart = arrivals({"": table.arrival_s})
    return replace(chart, title=f"Arrivals ({chart.y.label})", y=replace(chart.y, label="per second"))
