"""What the verbs of planning share: their flags, their tables, their progress, the files they write."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.app.cli.output import err, out

if TYPE_CHECKING:
    from headway.plots.tables import Table

setting = partial(typer.Option, rich_help_panel="What is played")
sweeping = partial(typer.Option, rich_help_panel="Where it is played")
files = partial(typer.Option, rich_help_panel="Files")

File = Annotated[Path, typer.Argument(metavar="FILE.toml", help="The recipe.")]
TraceFlag = Annotated[str, setting("--trace", metavar="T", help="Another trace: a file, or a shipped name.")]
SetFlag = Annotated[
    list[str] | None,
    setting(
        "--set",
        metavar="KEY=VALUE",
        help="A parameter of the policy, or table.key of the recipe, such as fleet.instances=2; may be repeated.",
    ),
]
RequestsFlag = Annotated[int | None, setting(min=1, help="Only the first so many requests.")]
WorkersFlag = Annotated[int, sweeping(min=0, help="Processes; 1 is this one, 0 all cores where it is worth it.")]
RayFlag = Annotated[bool, sweeping("--ray", help="Play on Ray: a local one, unless there is an address.")]
RayAddressFlag = Annotated[str, sweeping(help="Of a Ray cluster, such as auto or ray://host:10001.")]
ResumeFlag = Annotated[Path | None, sweeping(metavar="DIR", help="Keep finished runs there, and go on from them.")]
HtmlFlag = Annotated[Path | None, files(metavar="FILE", help="A report page that opens offline.")]
PlotFlag = Annotated[Path | None, files(metavar="FILE", help="A figure: .png, .svg or .pdf.")]

SHOWN_AFTER_S = 0.5
"""Work that is over sooner shows no progress bar."""


def print_table(table: Table, title: str = "") -> None:
    """Print a neutral table for people, without columns that are empty; nothing when it has no rows."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    from headway.plots.quantities import NOTHING

    if not table.rows:
        return
    shown = RichTable(box=SIMPLE_HEAD, title=title or table.caption or None, title_justify="left", pad_edge=False)
    texts = table.texts()
    kept = [place for place in range(len(table.titles)) if any(row[place] != NOTHING for row in texts)]
    for place in kept:
        shown.add_column(Text(table.titles[place]), justify=table.aligns[place], overflow="fold")
    for row in texts:
        shown.add_row(*(Text(row[place]) for place in kept))
    out().print(shown)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a long work is, on standard error; yields who is to be told (how many are done, of how many)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=err(), transient=True)
    task, start_s = bar.add_task(what, total=None), time.monotonic()

    def tell(num_done: int, num_all: int) -> None:
        if not bar.live.is_started and time.monotonic() - start_s > SHOWN_AFTER_S:
            bar.start()
        bar.update(task, completed=num_done, total=num_all)

    try:
        yield tell
    finally:
        if bar.live.is_started:  # to stop what never started prints an empty line
            bar.stop()


def check_files(*paths: Path | None, kinds: Sequence[str] = (), drawn: bool = False) -> None:
    """Raise at once for a file that could not be written in the end.

    Parameters
    ----------
    *paths : Path or None
        The files.
    kinds : sequence of str
        The suffixes that will do; any if empty.
    drawn : bool
        Whether they hold figures, for which a drawing library is needed.

    Raises
    ------
    ConfigError, MissingExtra
        When a folder does not exist, the suffix is another one, or the library is not installed.
    """
    from headway.core.errors import ConfigError, missing_extra
    from headway.core.writing import replacing
    from headway.plots.libraries import has

    if drawn and any(paths) and not (has("matplotlib") or has("plotly")):
        raise missing_extra("matplotlib", "plan", "to draw")
    for path in paths:
        if path is not None:
            if kinds and not path.name.lower().endswith(tuple(kinds)):
                raise ConfigError(f"{path}: must end in {' or '.join(kinds)}, got {path.suffix!r}.")
            _try(replacing, path)


def check_figures(html: Path | None, plot: Path | None = None) -> None:
    """Raise at once for a page or a figure that could not be drawn in the end.

    Raises
    ------
    ConfigError, MissingExtra
        When a file could not be written, or what draws it is not installed.
    """
    from headway.plots.libraries import library
    from headway.plots.render_image import IMAGE_SUFFIXES
    from headway.plots.save import SUFFIXES

    check_files(html, kinds=(".html", ".htm"), drawn=True)
    check_files(plot, kinds=SUFFIXES, drawn=True)
    if plot is not None and plot.suffix.lower() in IMAGE_SUFFIXES:
        library("matplotlib", "to draw an image")


def _try(replacing: Callable[[Path], contextlib.AbstractContextManager[Path]], path: Path) -> None:
    with contextlib.suppress(FileNotFoundError), replacing(path):
        raise FileNotFoundError  # it could be written, and is not yet


def ray_address(ray: bool, address: str) -> str:
    """Return the address of the Ray to play on; empty for none."""
    return address or ("local" if ray else "")


def whole_numbers(said: str, flag: str) -> tuple[int, ...]:
    """Read seeds as people say them: a count, or a list such as ``0,3,7``."""
    from headway.core.errors import ConfigError

    try:
        numbers = tuple(int(word) for word in said.split(",") if word.strip())
    except ValueError as error:
        raise ConfigError(f"{flag}: must be a count or a list such as 0,3,7, got {said!r}.") from error
    return tuple(range(numbers[0])) if len(numbers) == 1 and "," not in said else numbers


def plain_numbers(said: str, flag: str) -> tuple[float, ...]:
    """Read a list of numbers such as ``0.5,1,2``."""
    from headway.core.errors import ConfigError
    from headway.core.parameters import number

    try:
        return tuple(number(word) for word in said.split(",") if word.strip())
    except ConfigError as error:
        raise ConfigError(f"{flag}: {error}") from error


def command(context: typer.Context) -> str:
    """Return what was typed, as far as it differs from what is there without."""
    words = ["headway", context.command.name or ""]
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            words += _typed(parameter.opts[0], context.params[parameter.name or ""])
    return shlex.join(words)


def _typed(option: str, value: object) -> list[str]:
    if not option.startswith("-"):
        return [str(one) for one in (value if isinstance(value, list) else [value])]
    if isinstance(value, bool):
        return [option]
    return [word for one in (value if isinstance(value, list) else [value]) for word in (option, str(one))]
