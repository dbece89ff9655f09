"""Where things are printed: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else on standard output.")]


@cache
def out() -> Console:
    """Return the console of results."""
    from rich.console import Console

    return Console(highlight=False)


@cache
def err() -> Console:
    """Return the console of progress and remarks."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON value: indented for a person at a terminal, else on one line."""
    import msgspec

    encoded = msgspec.json.encode(value)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    typer.echo(encoded.decode())
