"""`headway reproduce`: what a publication claims, beside what is measured here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, err, out, print_json
from headway.app.cli.studying import HtmlFlag, ResumeFlag, WorkersFlag, setting

if TYPE_CHECKING:
    from headway.app.reproduce.claim import Claim
    from headway.app.reproduce.judge import Verdict
    from headway.app.reproduce.running import Reproduction

SEEDS, QUICK_SEEDS = 5, 3
"""How many seeds are played, and how many when it must be quick."""


def reproduce(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a mechanism; none lists what there is.")] = "",
    *,
    all_: Annotated[str, setting("--all", metavar="FAMILY", help="All mechanisms of a family, in one table.")] = "",
    claims: Annotated[str, setting(metavar="A,B", help="Only these claims.")] = "",
    seeds: Annotated[str, setting(metavar="N", help="How many, or which (0,3,7); 5, and 3 when quick.")] = "",
    quick: Annotated[bool, setting("--quick", help="Seconds instead of minutes: fewer requests and seeds.")] = False,
    workers: WorkersFlag = 0,
    resume: ResumeFlag = None,
    html: HtmlFlag = None,
    json: Json = False,
) -> None:
    """Run a published comparison again: the claim, its hardware, our numbers, and whether they agree."""
    from headway.app.reproduce import running
    from headway.core.errors import ConfigError

    if not id and not all_:
        _list(json)
        return
    studying.check_figures(html)
    chosen = studying.whole_numbers(seeds or str(QUICK_SEEDS if quick else SEEDS), "--seeds")
    if not chosen:
        raise ConfigError(f"--seeds: must be one or more, got {seeds!r}. Try 5.")
    if all_:
        beside = [name for name, is_given in (("ID", id), ("--claims", claims), ("--html", html)) if is_given]
        if beside:
            raise ConfigError(f"--all: must stand without {beside[0]}, got both. Leave one out.")
        _all(all_, chosen, quick, workers, resume, json)
        return
    if resume is not None:
        raise ConfigError("--resume: must stand beside --all, got it without. Leave it out.")
    with studying.progress("playing") as tell:
        names = [word.strip() for word in claims.split(",") if word.strip()]
        found = running.reproduce(
            id, claims=names, seeds=chosen, quick=quick, num_workers=workers, on_progress=tell
        )  # fmt: skip
    if html is not None:
        _write(found, html, studying.command(ctx))
    if json:
        print_json(running.told(found))
    else:
        _print(found)


def _all(family: str, seeds: tuple[int, ...], quick: bool, workers: int, folder: Path | None, json: bool) -> None:
    from headway.app.reproduce.everything import headline_table, reproduce_all, rows_of

    rows = rows_of(family)
    start_s = time.perf_counter()
    with studying.progress("playing") as tell:
        found = list(
            reproduce_all(rows, seeds=seeds, quick=quick, num_workers=workers, folder=folder, on_progress=tell)
        )
    if json:
        print_json(found)
        return
    studying.print_table(headline_table(found))
    pace = " (quick)" if quick else ""
    out().print(f"{len(seeds)} seeds, {time.perf_counter() - start_s:.0f} s{pace}", markup=False, style="dim")


def _list(json: bool) -> None:
    from headway.app.reproduce.find import claims_of
    from headway.app.reproduce.tables import claims_table
    from headway.core import catalogue

    rows = catalogue.rows()
    claims = [claims_of(row.id) if row.claims else () for row in rows]
    if json:
        print_json([_listed(row.id, row.level, some) for row, some in zip(rows, claims, strict=True)])
    else:
        studying.print_table(claims_table(rows, [len(some) for some in claims]))


def _listed(id: str, level: str, claims: tuple[Claim, ...]) -> dict[str, Any]:
    return {"id": id, "level": level, "claims": [{"claim_id": one.id, "claim": one.text} for one in claims]}


def _write(found: Reproduction, path: Path, command: str) -> None:
    from headway.app.reproduce.page import write_page

    write_page(found, path, command=command)
    err().print(f"Written: {path}", markup=False, soft_wrap=True)


def _print(found: Reproduction) -> None:
    from headway.app.reproduce import tables
    from headway.core import catalogue

    row = catalogue.find(found.id)
    out().print(f"{row.id}: {row.title}", style="bold", markup=False)
    for claim, verdict in zip(found.claims, found.verdicts, strict=True):
        _print_claim(claim, verdict)
    studying.print_table(tables.summary_table(found))
    out().print(tables.legend(found), markup=False, style="dim")
    pace = " (quick)" if found.quick else ""
    out().print(f"level {row.level}, {found.wall_s:.0f} s{pace}", markup=False, style="dim")


def _print_claim(claim: Claim, verdict: Verdict) -> None:
    from headway.app.reproduce import tables

    out().print(f"\n{claim.id}", style="bold", markup=False)
    out().print(claim.text, markup=False)
    out().print(f"Claimed: {claim.source}; on {claim.hardware}.\nHere: {claim.here}.", markup=False, style="dim")
    for name, about in claim.contestants.items():
        out().print(f"  {name}: {about}", markup=False, style="dim")
    studying.print_table(tables.numbers_table(claim, verdict))
    studying.print_table(tables.directions_table(verdict))
    studying.print_table(tables.sizes_table(verdict))
    for note in claim.notes:
        out().print(note, markup=False, style="dim")
