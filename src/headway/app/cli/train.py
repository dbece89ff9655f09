"""`headway train`: teach a mechanism that learns in advance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, err, out, print_json
from headway.app.cli.spans import seconds

if TYPE_CHECKING:
    from headway.app.learning.training import TrainNews

_TOLD_FRAC = 0.1
"""Where there is no terminal, a line is told each time so much more is done."""


def train(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a mechanism; none lists what there is.")] = "",
    *,
    budget: Annotated[str, typer.Option(metavar="TIME", help="Processor time, such as 90s, 10min or 1h.")] = "10min",
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.npz", help="Where the weights go; NAME.npz if left out.")
    ] = None,
    start: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Weights to go on from.")] = None,
    json: Json = False,
) -> None:
    """Teach a mechanism that learns in advance, on work that is made up here.

    The weights are used by its parameter `weights`; those that come with Headway were made in this way,
    or as the page of the mechanism says.
    """
    from headway.app.learning.training import TrainSpec, trainable
    from headway.app.learning.training import train as teach
    from headway.numerics.nets import load

    if not id:
        _list(trainable(), json)
        return
    path = out_file or Path(f"{id.rpartition('/')[2]}.npz")
    studying.check_files(path, kinds=(".npz",))
    budget_s = seconds(budget, "--budget")
    with _shown(id) as tell:
        spec = TrainSpec(seed=seed, budget_s=budget_s, tell=tell, start=load(start) if start else None)
        about = teach(id, spec, path)
    if json:
        print_json({**about, "out": str(path)})
        return
    out().print(f"{id}: {about['num_weights']:,} weights after {about['cpu_s']:,} processor seconds, in {path}")
    if "text" in about:
        out().print(str(about["text"]), markup=False)
    out().print(f"Play it with the parameter weights = {str(path)!r}.", markup=False)


def _list(ids: list[str], json: bool) -> None:
    if json:
        print_json(ids)
        return
    for id_ in ids:
        out().print(id_, markup=False)


@contextmanager
def _shown(id: str) -> Iterator[Callable[[TrainNews], None]]:
    """Show a bar where there is a terminal, else a line now and then."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("left"))
    bar = Progress(*columns, console=err(), transient=True)
    task, told = bar.add_task(id, total=1.0), [0.0]

    def tell(news: TrainNews) -> None:
        said = ", ".join(f"{name} {value:.4g}" for name, value in news.numbers.items())
        bar.update(task, completed=news.done_frac, description=f"{id}: {said}")
        if not err().is_terminal and news.done_frac >= told[0]:
            told[0] = news.done_frac + _TOLD_FRAC
            err().print(f"{news.done_frac:4.0%} {said}", markup=False)

    if not err().is_terminal:
        yield tell
        return
    with bar:
        yield tell
