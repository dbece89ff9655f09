"""`headway doctor`: what this machine and this installation can do."""

from __future__ import annotations

from typing import Annotated

import typer

from headway.app.cli.output import Json, err, out, print_json

_STYLE = {"ok": "green", "note": "yellow", "bad": "bold red"}


def doctor(
    port: Annotated[int, typer.Option(help="The port that a server would use.")] = 8000,
    json: Json = False,
) -> None:
    """Look at this machine and this installation; exit status 1 when serving cannot work."""
    from headway.app.cli.machine import findings

    with err().status("looking"):
        found = findings(port)
    if json:
        print_json(found)
    else:
        from rich.table import Table
        from rich.text import Text

        table = Table("", "", "", show_header=False)
        for finding in found:
            hint = f"\n{finding.hint}" if finding.hint else ""
            table.add_row(finding.what, Text(finding.value + hint), Text(finding.status, style=_STYLE[finding.status]))
        out().print(table)
    if any(finding.status == "bad" for finding in found):
        raise typer.Exit(1)
