"""`headway new`: begin a mechanism."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headway.app.cli.output import Json, out, print_json


def new(
    id: Annotated[str, typer.Argument(metavar="FAMILY/NAME", help="Such as serving/my_batcher.")],
    seat: Annotated[
        str,
        typer.Option(
            help="The seat it takes: batch (if left out), route, admit, order, evict, predict or migrate of serving; "
            "dispatch (if left out) or construct of shop."
        ),
    ] = "",
    title: Annotated[str, typer.Option(help="Of the publication.")] = "",
    authors: Annotated[str, typer.Option(help="Of the publication.")] = "",
    year: Annotated[int | None, typer.Option(help="Of the publication; this year if left out.")] = None,
    arxiv: Annotated[str, typer.Option(help="Its arXiv id.")] = "",
    directory: Annotated[Path, typer.Option(help="The project to write into.")] = Path(),
    json: Json = False,
) -> None:
    """Begin a mechanism: one file, one test, one catalogue row. What is written works, and passes `headway check`.

    In any project but Headway's own, the mechanism becomes a plug-in.
    """
    from headway.app.cli.scaffold import Draft, write

    written = write(Draft.of(id, seat=seat, title=title, authors=authors, year=year, arxiv=arxiv), directory)
    if json:
        print_json({"id": id, "written": [str(path) for path in written.files], "next": written.next})
        return
    for path in written.files:
        out().print(f"wrote {path}", markup=False, soft_wrap=True)
    out().print("Next: " + "; ".join(written.next), markup=False, soft_wrap=True)
