"""`headway compare`: policies, loads and seeds against each other, in the same worlds."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, err, out, print_json
from headway.app.cli.studying import (
    File,
    HtmlFlag,
    PlotFlag,
    RayAddressFlag,
    RayFlag,
    RequestsFlag,
    ResumeFlag,
    SetFlag,
    TraceFlag,
    WorkersFlag,
    setting,
)

if TYPE_CHECKING:
    from headway.app.studies.compare import Comparison
    from headway.app.studies.job import Job, Result


def compare(
    ctx: typer.Context,
    file: File,
    *,
    trace: TraceFlag = "",
    policies: Annotated[
        str, setting(metavar="A,B", help="Who plays instead of the recipe's; the first is the baseline.")
    ] = "",
    set_: SetFlag = None,
    loads: Annotated[str, setting(metavar="X,Y", help="Factors on the rate of arrivals, instead.")] = "",
    seeds: Annotated[str, setting(metavar="N", help="How many, or which (0,3,7), instead.")] = "",
    requests: RequestsFlag = None,
    metrics: Annotated[str, setting(metavar="M,N", help="Which numbers the tables show.")] = "",
    bound: Annotated[
        bool, setting("--bound", help="Hold policies against the largest share of good requests that is possible.")
    ] = False,
    workers: WorkersFlag = 0,
    ray: RayFlag = False,
    ray_address: RayAddressFlag = "",
    resume: ResumeFlag = None,
    html: HtmlFlag = None,
    plot: PlotFlag = None,
    json: Json = False,
) -> None:
    """Play every policy at every load with every seed, and say where they differ for certain.

    Equal seeds give every policy the same requests, so differences are paired by seed.
    """
    from headway.app.studies.compare import comparison_of, jobs_of, plain
    from headway.app.studies.overrides import changed
    from headway.app.studies.recipe import read_recipe

    studying.check_figures(html, plot)
    recipe = changed(
        read_recipe(file),
        trace=trace,
        policies=[word.strip() for word in policies.split(",") if word.strip()],
        pairs=set_ or (),
        seeds=studying.whole_numbers(seeds, "--seeds"),
        loads=studying.plain_numbers(loads, "--loads"),
        requests=requests,
    )
    _ = recipe.policy  # there must be one
    start_s = time.perf_counter()
    jobs = jobs_of(recipe)
    results = _play(jobs, workers, studying.ray_address(ray, ray_address), resume)
    if bound:
        results = _hold_against_the_possible(jobs, results)
    found = comparison_of(recipe, results)
    wall_s = time.perf_counter() - start_s
    _write(found, html, plot, studying.command(ctx))
    if json:
        print_json(plain(found, wall_s))
    else:
        _print(found, [word.strip() for word in metrics.split(",") if word.strip()], wall_s)


def _play(jobs: list[Job], num_workers: int, address: str, resume: Path | None) -> list[Result]:
    from headway.app.studies.cache import Cache
    from headway.app.studies.sweep import sweep

    done: list[str] = []
    with ExitStack() as stack:
        cache = stack.enter_context(closing(Cache(resume))) if resume is not None else None
        tell = stack.enter_context(studying.progress("playing"))

        def on_result(job: Job, _: Result) -> None:
            done.append(job.label)
            tell(len(done), len(jobs))

        tell(0, len(jobs))
        return sweep(jobs, num_workers=num_workers, ray_address=address, cache=cache, on_result=on_result)


def _hold_against_the_possible(jobs: list[Job], results: list[Result]) -> list[Result]:
    from headway.app.studies.possible import with_possible

    with studying.progress("bounding") as tell:
        return with_possible(jobs, results, tell)


def _write(found: Comparison, html: Path | None, plot: Path | None, command: str) -> None:
    from headway.app.studies import pages

    if html is not None:
        pages.comparison_page(found, html, command=command)
        err().print(f"Written: {html}", markup=False, soft_wrap=True)
    if plot is not None:
        pages.comparison_figure(found, plot)
        err().print(f"Written: {plot}", markup=False, soft_wrap=True)


def _print(found: Comparison, metrics: list[str], wall_s: float) -> None:
    from headway.app.studies import tables
    from headway.core.errors import unknown_name

    for metric in metrics:
        if metric not in found.metrics:
            raise unknown_name("--metrics", metric, found.metrics)
    if found.recipe.about:
        out().print(found.recipe.about, markup=False, style="dim")
    for load in found.recipe.loads:
        studying.print_table(tables.comparison_table(found, load, metrics))
    out().print(tables.legend(found), markup=False, style="dim")
    num = sum(map(len, found.results.values()))
    out().print(f"{num} runs in {wall_s:.1f} s", markup=False, style="dim")
