"""A reproduced comparison as a report page."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from headway.app.reproduce import tables
from headway.app.reproduce.claim import Claim
from headway.app.reproduce.judge import Verdict
from headway.app.reproduce.running import Reproduction
from headway.app.studies.statistics import Interval
from headway.core import catalogue
from headway.plots.chart import Chart
from headway.plots.charts.compare import compare
from headway.plots.page import Page
from headway.plots.palette import Palette
from headway.plots.provenance import provenance
from headway.plots.tables import Amount

MOST_CHARTS = 2
"""Metrics of a claim that are drawn; the table has all."""


def write_page(found: Reproduction, path: Path, *, command: str = "") -> None:
    """Write the report of a reproduced comparison.

    Parameters
    ----------
    found : Reproduction
        What came of it.
    path : Path
        Where to.
    command : str
        What was typed.
    """
    row = catalogue.find(found.id)
    facts = {"Mechanism": row.id, "Level": row.level, "Seeds": ", ".join(map(str, found.seeds))}
    names = [name for claim in found.claims for name in claim.contestants]
    about = f"{row.authors}, {row.year}: what was claimed, and what is measured here."
    page = Page(
        row.title, about=about, facts=facts | provenance(datetime.now().astimezone()), palette=Palette(names)
    )  # fmt: skip
    page.section("Verdicts", tables.summary_table(found), tables.legend(found))
    for claim, verdict in zip(found.claims, found.verdicts, strict=True):
        _section(page, claim, verdict)
    page.reproduce(command)
    page.write(path)


def _section(page: Page, claim: Claim, verdict: Verdict) -> None:
    words = [claim.text, f"Claimed: {claim.source}; on {claim.hardware}.", f"Here: {claim.here}."]
    contestants = "; ".join(f"{name}: {about}" for name, about in claim.contestants.items())
    numbers = [tables.numbers_table(claim, verdict), tables.directions_table(verdict)]
    sizes = [tables.sizes_table(verdict)] if verdict.sizes else []
    charts = _charts(verdict)
    page.section(claim.id, *words, f"Contestants: {contestants}.", *numbers, *sizes, *charts, *claim.notes)


def _charts(verdict: Verdict) -> list[Chart]:
    metrics = dict.fromkeys(metric for one in verdict.measured.values() for metric in one)
    return [
        compare(metric, {name: _amount(one[metric]) for name, one in verdict.measured.items() if metric in one})
        for metric in list(metrics)[:MOST_CHARTS]
    ]


def _amount(found: Interval) -> Amount:
    return Amount(found.mean, low=found.low, high=found.high)
