"""A reproduced comparison in tables, for the terminal and for a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headway.app.reproduce.claim import Claim
from headway.app.reproduce.judge import Magnitude, Verdict
from headway.app.reproduce.running import Reproduction
from headway.app.studies.tables import spelled
from headway.core.catalogue import Row
from headway.plots.quantities import label_of, number, quantity, unit_of
from headway.plots.tables import Cell, Column, Table

YES, NO = "✓", "✗"


def summary_table(found: Reproduction) -> Table:
    """Return one row per claim: whether direction and size agree."""
    rows: list[list[Cell]] = [
        [claim.id, mark(verdict.agrees_direction), mark(verdict.agrees_magnitude)]
        for claim, verdict in zip(found.claims, found.verdicts, strict=True)
    ]
    heads = [Column("claim", "left"), Column("direction", "left"), Column("size", "left")]
    return Table(heads, rows)


def numbers_table(claim: Claim, verdict: Verdict) -> Table:
    """Return a row per contestant and a column per metric; what was claimed stands in parentheses."""
    metrics = list(dict.fromkeys(metric for one in verdict.measured.values() for metric in one))
    rows: list[list[Cell]] = [
        [name, *(_cell(claim, verdict, name, metric) for metric in metrics)] for name in _ours_first(claim)
    ]
    heads = [Column("", "left"), *(Column(label_of(metric), "right") for metric in metrics)]
    caption = "(claimed in parentheses)" if claim.claimed else ""
    return Table(heads, rows, caption)


def directions_table(verdict: Verdict) -> Table:
    """Return a row per ordering: whether it holds, and in how many seeds."""
    rows: list[list[Cell]] = [
        [one.name, mark(one.holds), f"{one.num_held} of {one.num}", "certain" if one.sure else ""]
        for one in verdict.directions
    ]
    return Table([Column("direction", "left"), Column("", "left"), Column("seeds", "left"), Column("", "left")], rows)


def sizes_table(verdict: Verdict) -> Table:
    """Return a row per size: claimed, measured, and what would agree."""
    rows: list[list[Cell]] = [
        [
            one.name,
            number(one.claimed),
            _with_ends(one),
            f"{number(one.least)} to {number(one.most)}",
            mark(one.agrees),
        ]
        for one in verdict.sizes
    ]
    heads = ["claimed", "here", "agrees within"]
    return Table([Column("size", "left"), *(Column(head, "right") for head in heads), Column("", "left")], rows)


def claims_table(rows: Sequence[Row], nums: Sequence[int]) -> Table:
    """Return the mechanisms of the catalogue with how many claims of each are written down."""
    cells: list[list[Cell]] = [[row.id, row.level, num, row.title] for row, num in zip(rows, nums, strict=True)]
    return Table([Column("id", "left"), Column("level", "left"), "claims", Column("title", "left")], cells)


def legend(found: Reproduction) -> str:
    """Return what the marks mean."""
    if len(found.seeds) < 2:
        return "One seed: no intervals. Try --seeds 5."
    return (
        f"Means over {len(found.seeds)} seeds with 95% intervals. A direction holds when the mean difference, paired "
        "by seed, says so; it is certain when the interval of the difference excludes 0."
    )


def mark(agrees: bool | None) -> str:
    """Return a tick, a cross, or nothing where there was nothing to agree with."""
    return "" if agrees is None else YES if agrees else NO


def _with_ends(one: Magnitude) -> str:
    ends = "" if math.isnan(one.low) else f" [{number(one.low)}, {number(one.high)}]"
    return number(one.mean) + ends


def _ours_first(claim: Claim) -> list[str]:
    return [claim.ours, *(name for name in claim.contestants if name != claim.ours)]


def _cell(claim: Claim, verdict: Verdict, name: str, metric: str) -> str | None:
    found = verdict.measured[name].get(metric)
    if found is None:
        return None
    said = claim.claimed.get((name, metric))
    text = spelled(metric, found)
    return text if said is None else f"{text} ({quantity(said, unit_of(metric))})"
