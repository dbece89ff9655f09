"""`headway solve`: plan a job shop, a project or a machine from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, err, out, print_json
from headway.app.cli.spans import seconds
from headway.app.cli.studying import PlotFlag, files

if TYPE_CHECKING:
    from headway.policies.shop.problem import Problem
    from headway.policies.shop.result import Progress as SearchProgress
    from headway.policies.shop.result import Result

_problem = partial(typer.Option, rich_help_panel="The problem")
_search = partial(typer.Option, rich_help_panel="The search")

NOTHING_FOUND = 1
"""Exit status when there is no schedule, or none was found in time."""


def solve(
    ctx: typer.Context,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="An instance; FILE:NAME for one of a collection; a shipped name."),
    ] = "",
    *,
    objective: Annotated[
        str,
        _problem(help="makespan, total_tardiness, weighted_tardiness or total_flow_time instead of the file's."),
    ] = "",
    blocking: Annotated[
        bool, _problem("--blocking", help="A job keeps its machine until the next one is free.")
    ] = False,
    no_swap: Annotated[bool, _problem("--no-swap", help="Blocked jobs that wait in a circle cannot swap.")] = False,
    planner: Annotated[str, _search(metavar="NAME", help="Who plans; --list says who can.")] = "shop/headway",
    set_: Annotated[
        list[str] | None, _search("--set", metavar="KEY=VALUE", help="A parameter of the planner; may be repeated.")
    ] = None,
    time_limit: Annotated[str, _search(metavar="TIME", help="Such as 30s, 10min or 1h.")] = "30s",
    workers: Annotated[int, _search(min=0, help="Threads, where the planner can use several; 0 for all cores.")] = 0,
    seed: Annotated[int, _search(min=0, help="Of what the planner draws.")] = 0,
    start: Annotated[Path | None, _search(metavar="FILE.json", help="A result of --out to go on from.")] = None,
    list_: Annotated[bool, _search("--list", help="List the planners, and what comes with Headway to try.")] = False,
    out_file: Annotated[Path | None, files("--out", metavar="FILE.json", help="The schedule, as JSON.")] = None,
    gantt: Annotated[
        Path | None, files(metavar="FILE", help="The schedule as a Gantt chart: .svg, .png, .pdf or .html.")
    ] = None,
    plot: PlotFlag = None,
    json: Json = False,
) -> None:
    """Plan a job shop, a project or a single machine, and say how far from the best possible the plan is.

    Ctrl-C ends the search with the best plan so far. The exit status is 1 when there is no plan.
    """
    from headway.app.solving.files import plain, read_schedule, write_result
    from headway.app.solving.problems import given
    from headway.app.solving.solve import solve as solved
    from headway.core.errors import ConfigError
    from headway.core.parameters import settings

    if list_ or not file:
        _list(json)
        return
    studying.check_figures(None, gantt)
    studying.check_figures(None, plot)
    studying.check_files(out_file, kinds=(".json",))
    budget_s = seconds(time_limit, "--time-limit")
    if no_swap and not blocking:
        raise ConfigError("solve: --no-swap must come with --blocking, came without. Add --blocking.")
    problem = given(file, objective=objective, blocking=blocking, swap=not no_swap)
    first = read_schedule(start, problem) if start else None
    if not json:
        _say_problem(problem)
    with _shown(budget_s, json) as tell:
        result = solved(
            problem, planner, settings(set_ or []),
            budget_s=budget_s, seed=seed, workers=workers, start=first, tell=tell,
        )  # fmt: skip
    if out_file is not None:
        write_result(out_file, problem, result)
    _draw(problem, result, gantt, plot)
    if json:
        print_json(plain(problem, result))
    else:
        _print(problem, result)
        if result.status == "feasible" and out_file is not None:
            command = studying.command(ctx)
            out().print(f"Go on from it: {command} --start {out_file}", markup=False, soft_wrap=True)
    if result.schedule is None:
        raise typer.Exit(NOTHING_FOUND)


def _list(json: bool) -> None:
    from headway.app.solving.planners import planners
    from headway.plots.tables import Table
    from headway.sim.shop.instances.shipped import shipped

    rows = planners()
    if json:
        print_json({"planners": [{"id": row.id, "seat": row.seat, "title": row.title} for row in rows],
                    "shipped": list(shipped())})  # fmt: skip
        return
    studying.print_table(Table(["planner", "seat", "from"], [[row.id, row.seat, row.title] for row in rows]))
    out().print(f"To try: headway solve {' | '.join(shipped())}", markup=False, soft_wrap=True)


def _say_problem(problem: Problem) -> None:
    jobs = f"{len(problem.jobs)} jobs, " if len(problem.jobs) > 1 else ""
    words = f"{problem.name}: {problem.kind}, {jobs}{problem.num_resources} resources, {problem.num_tasks} tasks"
    if problem.blocking:
        words += ", blocking" + (" with swaps" if problem.swap else " without swaps")
    err().print(f"{words}; {problem.objective.replace('_', ' ')}", markup=False, soft_wrap=True)


@contextmanager
def _shown(budget_s: float, json: bool) -> Iterator[Callable[[SearchProgress], None]]:
    """Show objective and bound while it computes, where there is a terminal; else a line for each better objective."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from headway.app.cli.ticking import ticking

    best: dict[str, float | None] = {"objective": None, "bound": None}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn(f"of {budget_s:g} s"),
        console=err(), transient=True,
    )  # fmt: skip
    task = bar.add_task("searching", total=budget_s)

    def tell(progress: SearchProgress) -> None:
        is_better = progress.objective is not None and progress.objective != best["objective"]
        best.update({k: v for k in best if (v := getattr(progress, k)) is not None})
        said = ", ".join(f"{name} {_exact(value)}" for name, value in best.items() if value is not None)
        bar.update(task, description=said)
        if is_better and not err().is_terminal and not json:
            err().print(f"{progress.at_s:8.2f} s  {said}", markup=False)

    if not err().is_terminal:
        yield tell
        return
    with bar, ticking(lambda spent_s: bar.update(task, completed=spent_s)):
        yield tell


def _draw(problem: Problem, result: Result, gantt: Path | None, plot: Path | None) -> None:
    if gantt is None and plot is None:
        return
    from headway.app.solving.drawing import chart, history_chart
    from headway.plots.save import save

    if plot is not None:
        save(history_chart(result), plot)
    if gantt is not None and result.schedule is not None:
        save(chart(problem, result), gantt)
    for path in (gantt if result.schedule is not None else None, plot):
        if path is not None:
            err().print(f"Written: {path}", markup=False, soft_wrap=True)


def _print(problem: Problem, result: Result) -> None:
    if result.schedule is not None:
        _print_lines(problem, result)
    out().print(_verdict(problem, result), markup=False, soft_wrap=True)


def _verdict(problem: Problem, result: Result) -> str:
    who = f"{result.solver}, {result.took_s:.2f} s"
    if result.status == "infeasible":
        return f"Infeasible: {result.why or 'the solver proved it and cannot say why'} ({who})."
    if result.objective is None:
        return f"Nothing found: {result.why or 'no plan came up'} ({who}). Allow more time or try another --planner."
    goal = problem.objective.replace("_", " ")
    words = f"{result.status}: {goal} {_exact(result.objective)}"
    if result.bound is not None and result.gap_frac:
        words += f", at least {_exact(result.bound)} (gap {result.gap_frac:.2%})"
    elif result.status == "optimal":
        words += ", proven"
    if problem.best_known is not None and problem.best_known > 0:
        beyond = result.objective / problem.best_known - 1
        words += f"; best known {problem.best_known} ({beyond:+.2%})"
    return f"{words} ({who})" + (f"; {result.why}" if result.why else "")


def _exact(value: float) -> str:
    """Return a number with all digits of a large objective."""
    return f"{value:.12g}"


def _print_lines(problem: Problem, result: Result) -> None:
    """Print the schedule as a line of letters for each machine, where it fits."""
    from rich.text import Text

    from headway.app.solving.drawing import IDLE, LETTERS, lines
    from headway.plots.palette import Palette

    assert result.schedule is not None
    if len(problem.jobs) < 2 or len(problem.jobs) > len(LETTERS) or not out().is_terminal:
        return
    rows = lines(problem, result.schedule, min(out().width - 10, 100))
    if len(rows) > 24:
        return
    palette = Palette(str(job) for job in range(len(problem.jobs)))
    for name, cells in rows:
        text = Text(f"{name:>6} ")
        for job in cells:
            style = "dim" if job is None else f"black on {palette.look(str(job)).fill}"
            text.append(IDLE if job is None else LETTERS[job], style=style)
        out().print(text)
