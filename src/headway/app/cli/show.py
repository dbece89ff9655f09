"""`headway show`: all about one mechanism, or the configuration of the server."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.app.cli.output import Json, out, print_json

if TYPE_CHECKING:
    from headway.app.cli.docs import Parameter
    from headway.core.catalogue import Row


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a mechanism, such as serving/sarathi; or `config`.")],
    config: Annotated[Path | None, typer.Option(help="With `config`: a TOML file of settings.")] = None,
    json: Json = False,
) -> None:
    """Show a mechanism: source, parameters, and how to use it. `config` shows what `headway serve` would be told."""
    if id == "config":
        _show_config(config, json)
        return
    import msgspec

    from headway.app.cli.docs import parameters
    from headway.core import catalogue

    row, cls = catalogue.find(id), catalogue.load(id)
    found, doc = parameters(cls), inspect.getdoc(cls) or ""
    if json:
        facts = {"doc": doc, "parameters": msgspec.to_builtins(found), "usage": _usage(row, found)}
        print_json({**msgspec.to_builtins(row), **facts})
    else:
        _print(row, doc, found)


def _show_config(file: Path | None, json: bool) -> None:
    from headway.app.cli.settings import as_settings, config_of, given_settings
    from headway.app.cli.toml import dumps

    given = given_settings({}, file)
    settings = as_settings(config_of(given), given)
    if json:
        print_json(settings)
    else:
        typer.echo(dumps(settings), nl=False)


def _print(row: Row, doc: str, found: list[Parameter]) -> None:
    from rich.table import Table

    out().print(row.id, style="bold")
    source = f"{row.title}. {row.authors}, {row.year}." + (f" arXiv {row.arxiv}." if row.arxiv else "")
    out().print(source, markup=False)
    out().print(
        f"seat {row.seat}, level {row.level}, tags {', '.join(row.tags) or 'none'}\n", markup=False, style="dim"
    )
    out().print(doc, markup=False, soft_wrap=True)
    table = Table("parameter", "type", "default", "meaning", title="Parameters")
    for parameter in found:
        table.add_row(parameter.name, parameter.type, repr(parameter.default), parameter.about)
    if found:
        out().print(table)
    for title, text in _usage(row, found).items():
        out().print(f"\n{title}", style="bold")
        out().print(text, markup=False, soft_wrap=True)


def _usage(row: Row, found: list[Parameter]) -> dict[str, str]:
    given = {p.name: p.default for p in found if isinstance(p.default, int | float | str) and p.default != ""}
    arguments = f", {given!r}" if given else ""
    usage = {"python": f'import headway\n\npolicy = headway.build("{row.id}"{arguments})'}
    if row.family == "serving":
        from headway.app.cli.toml import dumps

        flags = "".join(f" --policy-param {name}={value}" for name, value in given.items())
        usage["command line"] = f"headway serve --policy {row.id}{flags}"
        usage["toml"] = dumps({"policy": row.id, "policy_params": given} if given else {"policy": row.id}).rstrip()
    return usage
