"""`headway calibrate`: measure a live engine, and write down what its steps cost."""

# ruff: noqa: ARG001  (flags are read together, from the context)
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli.output import Json, err, out, print_json

if TYPE_CHECKING:
    from headway.sim.serving.cost.fitted import Calibration

_engine = partial(typer.Option, rich_help_panel="Engine, as for serve")

PASSED_ON = ("dtype", "device", "quantize", "context", "policy", "kv_memory", "block_size", "max_seqs")
"""Flags that `headway serve` is given as they are."""


def calibrate(
    ctx: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(help="A folder or hub id; the model that comes with Headway if left out.", show_default=False),
    ] = None,
    *,
    target: Annotated[Path, typer.Option("--out", metavar="FILE.toml", help="Where the calibration goes.")] = Path(
        "calibration.toml"
    ),
    minutes: Annotated[float, typer.Option(help="How long to measure, beside loading.")] = 1.0,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Fit what `serve --trace` has recorded, and measure nothing.")
    ] = None,
    threads: Annotated[int | None, _engine(min=1, help="Of its arithmetic; all cores if left out.")] = None,
    dtype: Annotated[str | None, _engine(help="auto, float32, bfloat16 or float16.")] = None,
    device: Annotated[str | None, _engine(help="auto, cpu or cuda.")] = None,
    quantize: Annotated[str | None, _engine(help="none or int8 (weights only).")] = None,
    context: Annotated[str | None, _engine(help="Longest prompt plus output, such as 4096.")] = None,
    native: Annotated[bool | None, _engine("--native/--no-native", help="Compiled kernels.")] = None,
    policy: Annotated[
        str | None, _engine(help="Who schedules meanwhile; Sarathi with large chunks if left out.")
    ] = None,
    policy_param: Annotated[list[str] | None, _engine(help="A parameter of the policy as KEY=VALUE.")] = None,
    kv_memory: Annotated[str | None, _engine(help="Memory for keys and values, such as 2GiB.")] = None,
    block_size: Annotated[int | None, _engine(help="Tokens per block of it.")] = None,
    max_seqs: Annotated[int | None, _engine(help="The most requests that run at once.")] = None,
    json: Json = False,
) -> None:
    """Measure what the steps of a live engine take on this machine, for the `calibration` of a recipe's fleet.

    A server of its own is asked for decodes and prompts of many shapes; one step in five tests the fit.
    """
    from headway.app.cli.studying import check_files

    check_files(target)
    found = _from_recording(trace) if trace is not None else _measured(ctx.params, minutes)
    save(found, target)
    if json:
        import msgspec

        print_json({"file": str(target), **msgspec.to_builtins(found)})
    else:
        _print(found, target)


def save(calibration: Calibration, path: Path) -> None:
    """Write a calibration; a file is there whole or not at all.

    Raises
    ------
    ConfigError
        When its folder does not exist.
    """
    import msgspec

    from headway.app.cli.toml import dumps
    from headway.core.writing import replacing

    text = "# What the steps of a live engine cost, as `headway calibrate` measured it.\n"
    with replacing(path) as beside:
        beside.write_text(text + dumps(msgspec.to_builtins(calibration)), encoding="utf-8")


def flags_of(given: dict[str, Any]) -> tuple[str, ...]:
    """Return the words that `headway serve` is started with, the model first."""
    from headway.app.cli.shipped import SHIPPED

    words = [given["model"] or SHIPPED]
    for name in PASSED_ON:
        if given[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    for pair in given["policy_param"] or ():
        words += ["--policy-param", pair]
    if given["native"] is not None:
        words.append("--native" if given["native"] else "--no-native")
    return tuple(words)


def _measured(given: dict[str, Any], minutes: float) -> Calibration:
    from headway.app.calibrate.calibration import Order, calibrate

    order = Order(flags=flags_of(given), threads=given["threads"] or 0, measure_s=60 * minutes)
    with _progress(order.measure_s) as tell:
        return calibrate(order, tell)


def _from_recording(trace: Path) -> Calibration:
    from headway.app.calibrate.calibration import calibration_of
    from headway.app.calibrate.recording import read_recording

    return calibration_of(read_recording(trace))


@contextmanager
def _progress(all_s: float) -> Iterator[Callable[[float], None]]:
    """Show how much of the measuring is done; yields who is to be told."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task("loading the model", total=None)
        yield lambda passed_s: bar.update(task, description="measuring", completed=min(passed_s, all_s), total=all_s)


def _print(found: Calibration, path: Path) -> None:
    errors, overheads = found.errors, found.overheads
    out().print(f"{found.model} on {found.machine}", style="bold", markup=False)
    out().print(
        f"{errors['num_steps']:.0f} steps fitted. {errors['num_tested']:.0f} others are off by "
        f"{errors['median_frac']:.1%} in the median, {errors['p90_frac']:.1%} in the worst tenth.",
        markup=False,
    )
    for tokens, step_s in found.price.knots:
        out().print(f"  a step of {tokens:>5} tokens  {1e3 * step_s:9.3f} ms", markup=False)
    if overheads:
        out().print(
            f"  and a request          {1e3 * overheads['first_token_s']:9.3f} ms outside of steps", markup=False
        )
    out().print(f'Written to {path}. In a recipe: [[fleet]] calibration = "{path}"', markup=False, soft_wrap=True)
