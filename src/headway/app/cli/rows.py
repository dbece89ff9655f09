"""`headway list`: what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from headway.app.cli.output import Json, out, print_json
from headway.core.errors import unknown_name

Rows = list[dict[str, Any]]


def list_rows(
    kind: Annotated[
        str, typer.Argument(help="policies, families or checks; or a family, for its mechanisms.")
    ] = "policies",
    family: Annotated[str, typer.Option(help="Only mechanisms of this family.")] = "",
    seat: Annotated[str, typer.Option(help="Only mechanisms that take this seat.")] = "",
    tag: Annotated[str, typer.Option(help="Only mechanisms with this tag.")] = "",
    json: Json = False,
) -> None:
    """List mechanisms, their families, or the checks they pass."""
    from headway.core import catalogue

    if kind in catalogue.families():
        kind, family = "policies", family or kind
    kinds: dict[str, Callable[[], Rows]] = {
        "policies": lambda: _policies(family, seat, tag),
        "families": _families,
        "checks": _checks,
    }
    if kind not in kinds:
        raise unknown_name("list", kind, kinds, "headway list --help")
    found = kinds[kind]()
    if json:
        print_json(found)
    else:
        _print(
            found,
            {"policies": ("id", "seat", "level", "year", "title"), "families": ("name", "mechanisms", "about")}.get(
                kind
            ),
        )


def _policies(family: str, seat: str, tag: str) -> Rows:
    import msgspec

    from headway.core import catalogue

    rows = [row for row in catalogue.rows(family) if _sits(row.seat, seat) and (not tag or tag in row.tags)]
    return [msgspec.to_builtins(row) for row in rows]


def _sits(seats: str, seat: str) -> bool:
    return not seat or seat in (seats, *seats.split("+"))


def _families() -> Rows:
    from headway.core import catalogue

    found = catalogue.families().values()
    return [{"name": f.name, "about": f.about, "mechanisms": len(catalogue.rows(f.name))} for f in found]


def _checks() -> Rows:
    from headway.core.checks import CHECKS

    return [{"check": check.__name__.removeprefix("check_"), "about": check.__doc__ or ""} for check in CHECKS]


def _print(rows: Rows, columns: Iterable[str] | None) -> None:
    from rich.table import Table

    names = list(columns or (rows[0] if rows else ()))
    table = Table(*names)
    for column in table.columns:
        column.overflow = "fold"  # words may be broken on a narrow terminal, but nothing is left out
    if names:
        table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    out().print(table if rows else "Nothing of that kind.")
