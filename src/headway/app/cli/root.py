"""All verbs under one roof, and what happens when one of them fails."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from headway import __version__
from headway.app.cli import (
    bench,
    calibrate,
    chat,
    check,
    compare,
    doctor,
    new,
    plan,
    replay,
    reproduce,
    rows,
    run,
    serve,
    show,
    solve,
    trace,
    train,
    tune,
)
from headway.core.errors import HeadwayError


class Verbs(TyperGroup):
    """Turns what can go wrong without a mistake in the program into one sentence and exit status 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except (HeadwayError, OSError, MemoryError) as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):  # a reader that has enough is no error
                raise
            typer.echo(f"headway: {_sentence(error)}", err=True)
            raise typer.Exit(2) from error


def _sentence(error: Exception) -> str:
    if isinstance(error, HeadwayError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"memory: must hold all that was asked for, got: {error or 'none left'}. Ask for less."
    where = getattr(error, "filename", None) or "system"
    return f"{where}: must be readable or writable, got: {getattr(error, 'strerror', None) or error}. See --debug."


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headway {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Schedule AI work so that every kind of it keeps its service-level objective."""


bench_app = typer.Typer(no_args_is_help=True, help="Measure a running server.")
bench_app.command("serve")(bench.serve)

app.command("serve", cls=serve.Serve, rich_help_panel="Serve")(serve.serve)
app.command("chat", rich_help_panel="Serve")(chat.chat)
app.add_typer(bench_app, name="bench", rich_help_panel="Serve")
app.command("tune", rich_help_panel="Serve")(tune.tune)
app.command("run", rich_help_panel="Plan")(run.run)
app.command("compare", rich_help_panel="Plan")(compare.compare)
app.command("plan", rich_help_panel="Plan")(plan.plan)
app.command("solve", rich_help_panel="Plan")(solve.solve)
app.command("calibrate", rich_help_panel="Plan")(calibrate.calibrate)
app.add_typer(trace.app, name="trace", rich_help_panel="Plan")
app.command("replay", rich_help_panel="Plan")(replay.replay)
app.command("list", rich_help_panel="Mechanisms")(rows.list_rows)
app.command("show", rich_help_panel="Mechanisms")(show.show)
app.command("new", rich_help_panel="Mechanisms")(new.new)
app.command("train", rich_help_panel="Mechanisms")(train.train)
app.command("check", rich_help_panel="Mechanisms")(check.check)
app.command("reproduce", rich_help_panel="Mechanisms")(reproduce.reproduce)
app.command("doctor", rich_help_panel="Machine")(doctor.doctor)
