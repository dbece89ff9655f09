"""What the verbs of `headway trace` share: their flags, reading and writing with progress, their tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli.output import err, print_json
from headway.app.cli.studying import print_table, progress

if TYPE_CHECKING:
    from headway.plots.tables import Cell, Table
    from headway.traces.describe import Description, Spread
    from headway.traces.readers.rows import Reading
    from headway.traces.table import RequestTable

__all__ = ["print_table"]

In = Annotated[str, typer.Argument(metavar="IN", help="A file of recorded requests, or the name of a shipped trace.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Ends in .csv, .jsonl (each also with .gz) or .parquet.")]
FormatFlag = Annotated[str, typer.Option("--format", metavar="NAME", help="Its format, where its content misleads.")]
ColumnsFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--columns", metavar="NAME=COLUMN", help="Which column is which, such as prompt_tokens=in; repeat it."
    ),
]
SortFlag = Annotated[bool, typer.Option("--sort", help="Sort rows that are out of order instead of refusing them.")]
DropBadFlag = Annotated[bool, typer.Option("--drop-bad", help="Leave rows without sense out instead of refusing them.")]

Span = tuple[float, float | None, int | None]


def read(
    file: str, format: str, columns: list[str] | None, sort: bool, drop_bad: bool, span: Span = (0.0, None, None)
) -> Reading:
    """Read a trace, with progress on standard error; says there how many rows were left out."""
    from headway.traces.readers.door import read_requests
    from headway.traces.readers.options import Options
    from headway.traces.spec import locate

    path = locate(file)
    size_kib = max(1, path.stat().st_size >> 10)
    chosen = {target: name for part in columns or () for target, name in pairs("--columns", part.split(",")).items()}
    with progress("reading (KiB)") as tell:
        options = Options(
            columns=chosen,
            start_s=span[0],
            end_s=span[1],
            max_requests=span[2],
            on_read=lambda num_bytes: tell(num_bytes >> 10, size_kib),
        )
        reading = read_requests(path, format=format, sort=sort, drop_bad=drop_bad, options=options)
    if reading.num_left_out:
        remark = f"{file}: {reading.num_left_out} requests without sense or without an end left out."
        err().print(remark, markup=False, soft_wrap=True)
    return replace(reading, table=replace(reading.table, source=file))


def write(table: RequestTable, path: Path, *, json: bool, num_left_out: int = 0) -> None:
    """Write a trace, with progress, and say what was written."""
    from headway.traces.writers import keeps_prefixes, write_requests

    if table.prefixes is not None and not keeps_prefixes(path):
        err().print(
            f"{path}: CSV has no place for hashes of prefixes; .jsonl or .parquet keeps them.",
            markup=False,
            soft_wrap=True,
        )
    with progress("writing") as tell:
        write_requests(table, path, lambda num: tell(num, len(table)))
    if json:
        print_json({"file": str(path), "num_requests": len(table), "num_left_out": num_left_out})
    else:
        say_written(path, f" ({len(table):,} requests)")


def say_written(path: Path, more: str = "") -> None:
    """Say on standard error that a file is there."""
    err().print(f"Written: {path}{more}", markup=False, soft_wrap=True)


def check_out(path: Path) -> None:
    """Raise at once for a file that could not be written in the end."""
    from headway.traces.writers import check_target

    check_target(path)


def check_plot(path: Path) -> None:
    """Raise at once for a figure that could not be written in the end."""
    from headway.app.cli.studying import check_files
    from headway.core.errors import ConfigError
    from headway.plots.save import SUFFIXES

    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{path}: must end in one of {', '.join(SUFFIXES)}, got {path.suffix!r}.")
    check_files(path, drawn=True)


def pairs(flag: str, words: Iterable[str] | None) -> dict[str, str]:
    """Read ``name=value`` words."""
    from headway.core.errors import ConfigError

    found = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"trace: {flag} must be NAME=VALUE, got {word!r}.")
        found[name.strip()] = value.strip()
    return found


def plain(found: Description) -> dict[str, Any]:
    """Return a description as plain data."""
    import msgspec

    return dict(msgspec.to_builtins(found))


def tables(found: Description, *, is_timed: bool) -> list[Table]:
    """Return a description as tables for people."""
    from headway.plots.tables import Column, Table

    facts = Table([Column("", "left"), Column("", "right")], _facts(found, is_timed))
    heads = [Column("", "left"), *(Column(head, "right") for head in ("mean", "p10", "p50", "p90", "p99", "max"))]
    lengths = [
        _row(n.removesuffix("_tokens") + " tokens", getattr(found, n), "") for n in ("prompt_tokens", "output_tokens")
    ]
    if found.chains is not None:
        lengths.append(_row("calls per chain", found.chains.calls, ""))
        lengths += [_row("pause before a call", found.chains.gap_s, "s")] if found.chains.gap_s else []
    lengths += [_row(name.removesuffix("_s") + ", measured", values, "s") for name, values in found.measured.items()]
    shown = [facts, Table(heads, lengths)]
    if found.labels:
        rows: list[list[Cell]] = [
            [name, ", ".join(f"{value or '(none)'}: {num:,}" for value, num in counts.items())]
            for name, counts in found.labels.items()
        ]
        shown.append(Table(["label", "requests (most first)"], rows))
    return shown


def _facts(found: Description, is_timed: bool) -> list[list[Cell]]:
    from headway.plots.tables import Amount

    rows: list[list[Cell]] = [["requests", found.num_requests]]
    if is_timed:
        rows += [["duration", Amount(found.duration_s, "s")], ["rate", Amount(found.rate_per_s, "/s")]]
        rows += [["burstiness (cv of gaps)", found.gap_cv]] if found.gap_cv is not None else []
        rows += [[f"variance over mean per {window} s", value] for window, value in found.dispersion.items()]
    else:
        rows.append(["times", "none: all arrive at once"])
    rows += [["prompt tokens", int(found.prompt_tokens.total)], ["output tokens", int(found.output_tokens.total)]]
    if found.correlation is not None:
        rows.append(["correlation of their ranks", found.correlation])
    if found.sharing is not None:
        rows.append(["prompt tokens seen before", Amount(found.sharing.seen_frac, "%")])
        rows.append([f"different blocks of {found.sharing.block_tokens} tokens", found.sharing.num_blocks])
    if found.chains is not None:
        rows.append(["chains of calls", found.chains.num_chains])
    return rows


def _row(name: str, values: Spread, unit: str) -> list[Cell]:
    from headway.plots.tables import Amount

    shown = (values.mean, values.p10, values.p50, values.p90, values.p99, values.max)
    return [name, *(Amount(value, unit) if unit else Amount(round(value), digits=7) for value in shown)]
