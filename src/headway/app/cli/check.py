"""`headway check`: does a mechanism keep its contract?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headway.app.cli.output import Json, err, out, print_json

if TYPE_CHECKING:
    from headway.core.checks import Outcome

_STYLE = {"passed": "green", "failed": "bold red", "skipped": "dim"}


def check(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Mechanisms; all if left out.")] = None,
    json: Json = False,
) -> None:
    """Check mechanisms against the contract; exit status 1 when one breaks it."""
    outcomes = _run(ids or [])
    if json:
        print_json(outcomes)
    else:
        _print(outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _run(ids: list[str]) -> list[Outcome]:
    from headway.core.checks import run

    outcomes = []
    with err().status("checking") as status:
        for outcome in run(ids):
            outcomes.append(outcome)
            status.update(f"{outcome.id}: {outcome.check}")
    return outcomes


def _print(outcomes: list[Outcome]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("mechanism", "check", "outcome", "ms", "why")
    table.columns[3].justify = "right"
    for o in outcomes:
        status = Text(o.status, style=_STYLE[o.status])
        table.add_row(o.id, o.check.replace("_", " "), status, f"{o.took_s * 1000:.0f}", Text(o.why))
    out().print(table)
    counts = {status: sum(o.status == status for o in outcomes) for status in _STYLE}
    out().print(", ".join(f"{num} {status}" for status, num in counts.items()))
