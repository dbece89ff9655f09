"""`headway trace`: look at recorded requests, turn them into other files, make new ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli import tracing
from headway.app.cli.output import Json, out, print_json
from headway.app.cli.tracing import ColumnsFlag, DropBadFlag, FormatFlag, In, Out, SortFlag

if TYPE_CHECKING:
    from headway.traces.table import RequestTable

app = typer.Typer(no_args_is_help=True, help="Look at recorded requests, change them, make new ones.")


@app.command("list")
def list_traces(json: Json = False) -> None:
    """List the traces that come with Headway; their names stand wherever a file may."""
    from headway.plots.tables import Table
    from headway.traces.shipped import catalogue

    found = catalogue()
    if json:
        print_json(
            [{"name": name, "about": s.about, "source": s.source, "licence": s.licence} for name, s in found.items()]
        )
    else:
        tracing.print_table(Table(["trace", "about"], [[name, shipped.about] for name, shipped in found.items()]))


@app.command()
def describe(
    file: In,
    *,
    format: FormatFlag = "",
    columns: ColumnsFlag = None,
    sort: SortFlag = False,
    drop_bad: DropBadFlag = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A figure (.png, .svg, .pdf), or a page (.html).")
    ] = None,
    json: Json = False,
) -> None:
    """Say how many requests there are, how bursty they come, how long they are and how alike."""
    from headway.traces.describe import describe as described

    if plot is not None:
        tracing.check_plot(plot)
    reading = tracing.read(file, format, columns, sort, drop_bad)
    found = described(reading.table)
    if plot is not None:
        from headway.app.cli.trace_figures import draw

        draw(reading.table, plot, file)
        tracing.say_written(plot)
    if json:
        about = {
            "file": file,
            "format": reading.format,
            "is_timed": reading.is_timed,
            "num_left_out": reading.num_left_out,
        }
        print_json(about | tracing.plain(found))
    else:
        out().print(f"{file} ({reading.format})", style="bold", markup=False)
        for table in tracing.tables(found, is_timed=reading.is_timed):
            tracing.print_table(table)


@app.command()
def convert(
    source: In,
    target: Out,
    *,
    format: FormatFlag = "",
    columns: ColumnsFlag = None,
    sort: SortFlag = False,
    drop_bad: DropBadFlag = False,
    json: Json = False,
) -> None:
    """Write a trace in Headway's own words, as CSV, JSON lines or Parquet."""
    tracing.check_out(target)
    reading = tracing.read(source, format, columns, sort, drop_bad)
    tracing.write(reading.table, target, json=json, num_left_out=reading.num_left_out)


@app.command("slice")
def slice_(
    source: In,
    target: Out,
    *,
    start_s: Annotated[float, typer.Option(min=0, help="Only what arrived from then on, in seconds.")] = 0.0,
    end_s: Annotated[float | None, typer.Option(help="Only what arrived before, in seconds.")] = None,
    max_requests: Annotated[int | None, typer.Option(min=1, help="Only the first so many of the rest.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only those, such as tenant=a.")] = None,
    format: FormatFlag = "",
    columns: ColumnsFlag = None,
    sort: SortFlag = False,
    drop_bad: DropBadFlag = False,
    json: Json = False,
) -> None:
    """Keep a part of a trace; times count from the start of the part."""
    from headway.traces import reshape

    tracing.check_out(target)
    reading = tracing.read(source, format, columns, sort, drop_bad, span=(start_s, end_s, max_requests))
    table = reading.table
    if start_s or end_s is not None:
        table = reshape.between(table, start_s, end_s)
    for name, value in tracing.pairs("--label", label).items():
        table = reshape.with_label(table, name, value)
    if max_requests is not None:
        table = reshape.head(table, max_requests)
    tracing.write(table, target, json=json, num_left_out=reading.num_left_out)


@app.command()
def scale(
    source: In,
    target: Out,
    *,
    rate: Annotated[float | None, typer.Option(help="Mean arrivals per second that it shall have, > 0.")] = None,
    factor: Annotated[float | None, typer.Option(help="How many times as fast they arrive, > 0.")] = None,
    lengths_factor: Annotated[float, typer.Option(help="How many times as long they are, > 0; drops hashes.")] = 1.0,
    format: FormatFlag = "",
    columns: ColumnsFlag = None,
    sort: SortFlag = False,
    drop_bad: DropBadFlag = False,
    json: Json = False,
) -> None:
    """Let requests arrive faster or slower, or be longer or shorter; pauses of tools and people stay."""
    from headway.core.errors import ConfigError
    from headway.traces import reshape

    tracing.check_out(target)
    if rate is not None and factor is not None:
        raise ConfigError("trace scale: must have --rate or --factor, got both. Leave one out.")
    reading = tracing.read(source, format, columns, sort, drop_bad)
    table = reading.table
    if rate is not None:
        table = reshape.at_rate(table, rate)
    if factor is not None:
        table = reshape.faster(table, factor)
    table = reshape.lengthened(table, lengths_factor)
    tracing.write(table, target, json=json, num_left_out=reading.num_left_out)


@app.command()
def synthesise(
    target: Out,
    *,
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="A recipe, or its [trace] table alone.")
    ] = None,
    like: Annotated[str, typer.Option(metavar="FILE", help="With the statistics of this trace.")] = "",
    num: Annotated[int | None, typer.Option(min=1, help="How many requests; 1000 if not said.")] = None,
    rate: Annotated[float | None, typer.Option(help="Mean arrivals per second, > 0.")] = None,
    arrivals: Annotated[str, typer.Option(help="poisson, constant, gamma, weibull or diurnal.")] = "",
    cv: Annotated[
        float | None, typer.Option(help="Burstiness of gamma and weibull: 1 is Poisson, more is burstier.")
    ] = None,
    period_s: Annotated[float | None, typer.Option(help="Length of the day of diurnal, in seconds.")] = None,
    swing_frac: Annotated[float | None, typer.Option(help="How far diurnal swings around its mean, in [0, 1].")] = None,
    lengths: Annotated[str, typer.Option(metavar="NAME", help="A length model, or a shipped trace.")] = "",
    prompt_median: Annotated[
        float | None, typer.Option(help="Log-normal prompts: half are shorter, in tokens.")
    ] = None,
    prompt_p90: Annotated[float | None, typer.Option(help="Nine in ten prompts are shorter, in tokens.")] = None,
    output_median: Annotated[
        float | None, typer.Option(help="Log-normal outputs: half are shorter, in tokens.")
    ] = None,
    output_p90: Annotated[float | None, typer.Option(help="Nine in ten outputs are shorter, in tokens.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=2, help="Prompt and output together are no longer.")] = None,
    prefix_groups: Annotated[
        int | None, typer.Option(min=1, help="How many different beginnings prompts have.")
    ] = None,
    prefix_tokens: Annotated[int | None, typer.Option(min=1, help="How long these are, in tokens.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all dice.")] = 0,
    json: Json = False,
) -> None:
    """Make requests: from a recipe, like a recorded trace, or from the numbers given here."""
    from headway.app.cli import trace_making

    tracing.check_out(target)
    flags = {
        "num": num, "rate": rate, "arrivals": arrivals, "cv": cv, "period_s": period_s, "swing_frac": swing_frac,
        "lengths": lengths, "prompt_median": prompt_median, "prompt_p90": prompt_p90, "output_median": output_median,
        "output_p90": output_p90, "max_tokens": max_tokens, "prefix_groups": prefix_groups,
        "prefix_tokens": prefix_tokens,
    }  # fmt: skip
    given: dict[str, Any] = {name: value for name, value in flags.items() if value not in (None, "")}
    table: RequestTable = trace_making.make(spec, like, given, seed)
    tracing.write(table, target, json=json)
