"""`headway run`: play a recipe once, in virtual time."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, err, out, print_json
from headway.app.cli.studying import File, HtmlFlag, PlotFlag, RequestsFlag, SetFlag, TraceFlag, files, setting

if TYPE_CHECKING:
    from headway.app.studies.job import Job
    from headway.core.scenario import Outcome


def run(
    ctx: typer.Context,
    file: File,
    *,
    trace: TraceFlag = "",
    policy: Annotated[str, setting(metavar="ID", help="Who decides instead of the recipe's.")] = "",
    set_: SetFlag = None,
    seed: Annotated[int | None, setting(min=0, help="Of the run; the recipe's first.")] = None,
    load: Annotated[float | None, setting(help="Factor on the rate of arrivals; the recipe's first.")] = None,
    requests: RequestsFlag = None,
    record: Annotated[Path | None, files(metavar="FILE", help="Every event and decision, as JSON lines.")] = None,
    out_dir: Annotated[Path | None, files("--out", metavar="DIR", help="The result and all columns, as files.")] = None,
    html: HtmlFlag = None,
    plot: PlotFlag = None,
    perfetto: Annotated[Path | None, files(metavar="FILE", help="A timeline for ui.perfetto.dev.")] = None,
    json: Json = False,
) -> None:
    """Play a recipe once, in virtual time: how do these requests fare on this hardware under this policy?"""
    from headway.app.studies.job import job_of
    from headway.app.studies.overrides import changed
    from headway.app.studies.recipe import read_recipe
    from headway.app.studies.result import result_of

    studying.check_figures(html, plot)
    studying.check_files(perfetto, kinds=(".json", ".json.gz"))
    studying.check_files(record, kinds=(".jsonl",))
    studying.check_files(out_dir / "result.json" if out_dir and out_dir.is_dir() else None)
    recipe = changed(
        read_recipe(file),
        trace=trace,
        policies=[policy] if policy else (),
        pairs=set_ or (),
        seeds=() if seed is None else (seed,),
        loads=() if load is None else (load,),
        requests=requests,
    )
    job = job_of(recipe, recipe.policy, seed=recipe.seeds[0], load=recipe.loads[0])
    start_s = time.perf_counter()
    outcome = _play(job, record)
    result = result_of(outcome, job, time.perf_counter() - start_s)
    _write(
        outcome,
        result,
        (recipe.about, studying.command(ctx)),
        {"html": html, "plot": plot, "perfetto": perfetto, "out": out_dir},
    )
    if json:
        print_json(result)
    else:
        _print(result, recipe.about)


def _play(job: Job, record: Path | None) -> Outcome:
    from headway.app.studies.job import play
    from headway.core.trace import FileTrace, TraceHeader
    from headway.core.writing import replacing

    with ExitStack() as stack:
        sink = None
        if record is not None:
            header = TraceHeader(family=job.family, policy=job.policy.id, params=job.policy.params, seed=job.seed)
            sink = stack.enter_context(FileTrace(stack.enter_context(replacing(record)), header))
        tell = stack.enter_context(studying.progress(job.policy.label))
        return play(job, trace=sink, on_progress=tell)


def _write(outcome: Outcome, result: dict[str, Any], words: tuple[str, str], where: dict[str, Path | None]) -> None:
    from headway.app.studies import files, pages
    from headway.plots.perfetto import write_perfetto

    writers: dict[str, Any] = {
        "html": lambda path: pages.run_page(outcome, result, path, about=words[0], command=words[1]),
        "plot": lambda path: pages.run_figure(outcome, result, path),
        "perfetto": lambda path: write_perfetto(outcome, path),
        "out": lambda path: files.write_run(outcome, result, path),
    }
    for name, path in where.items():
        if path is not None:
            writers[name](path)
            err().print(f"Written: {path}", markup=False, soft_wrap=True)


def _print(result: dict[str, Any], about: str) -> None:
    from headway.app.studies import tables

    title = f"{result['name']}, load {result['load']:g}, seed {result['seed']}"
    out().print(title, style="bold", markup=False)
    if about:
        out().print(about, markup=False, style="dim")
    studying.print_table(tables.times_table(result))
    studying.print_table(tables.facts_table(result))
    studying.print_table(tables.attainment_table(result))
    for note in result["notes"]:
        out().print(note, markup=False, style="dim")
    line = f"{result['duration_s']:.1f} s of virtual time in {result['wall_s']:.2f} s"
    out().print(line, markup=False, style="dim")
