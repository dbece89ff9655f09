"""`headway plan`: how much a setting carries, or what is the cheapest that carries a load."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, err, out, print_json
from headway.app.cli.studying import (
    File,
    HtmlFlag,
    RayAddressFlag,
    RayFlag,
    RequestsFlag,
    SetFlag,
    TraceFlag,
    WorkersFlag,
    setting,
)

if TYPE_CHECKING:
    from headway.app.studies.capacity import Point
    from headway.app.studies.cheapest import Found
    from headway.app.studies.goal import Goal
    from headway.app.studies.recipe import Recipe


def plan(
    ctx: typer.Context,
    file: File,
    *,
    trace: TraceFlag = "",
    policies: Annotated[str, setting("--policies", "--policy", metavar="A,B", help="Who decides instead.")] = "",
    set_: SetFlag = None,
    seeds: Annotated[str, setting(metavar="N", help="How many, or which (0,3,7), instead.")] = "",
    load: Annotated[float | None, setting(help="The load to carry, or to begin the search with.")] = None,
    requests: RequestsFlag = None,
    workers: WorkersFlag = 0,
    ray: RayFlag = False,
    ray_address: RayAddressFlag = "",
    html: HtmlFlag = None,
    json: Json = False,
) -> None:
    """Find the largest load within the objectives, or the cheapest hardware, parallelism and policy for a load.

    The [plan] table of the recipe says which, and what may be used; --set plan.goal=cost changes it.
    """
    studying.check_figures(html)
    recipe, goal = _read(file, trace, policies, set_ or [], seeds, load, requests)
    address, command = studying.ray_address(ray, ray_address), studying.command(ctx)
    answer = _plan_cost if goal.goal == "cost" else _plan_load
    answer(recipe, goal, workers, address, json, (html, command))


def _read(
    file: Path, trace: str, policies: str, pairs: list[str], seeds: str, load: float | None, requests: int | None
) -> tuple[Recipe, Goal]:
    from headway.app.studies.goal import goal_of
    from headway.app.studies.overrides import changed
    from headway.app.studies.recipe import read_recipe

    words = [word.strip() for word in policies.split(",") if word.strip()]
    recipe = read_recipe(file)
    asked = {key: value for key, value in recipe.plan.items() if key != "policies" or not words}
    recipe = changed(
        recipe.but(plan={**asked, **({} if load is None else {"load": load})}),
        trace=trace,
        policies=words,
        pairs=pairs,
        seeds=studying.whole_numbers(seeds, "--seeds") if seeds else (),
        loads=() if load is None else (load,),
        requests=requests,
    )
    return recipe, goal_of(recipe)


def _plan_load(
    recipe: Recipe, goal: Goal, workers: int, address: str, json: bool, page: tuple[Path | None, str]
) -> None:
    from headway.app.studies import pages, plans
    from headway.app.studies.carry import look_all, searches

    start_s, todo = time.perf_counter(), searches(recipe, goal)
    with err().status("searching") as status:

        def on_point(policy: str, point: Point) -> None:
            verdict = point.verdict
            status.update(f"{policy}: load {point.load:.3g} {'carried' if verdict.passed else 'too much'}")

        found = look_all(todo, num_workers=workers, ray_address=address, on_point=on_point)
    told = plans.load_plain(recipe, goal, todo, found, time.perf_counter() - start_s)
    if page[0] is not None:
        pages.load_page(recipe, todo, found, page[0], command=page[1])
    if json:
        print_json(told)
        return
    title = f"Largest load at which {goal.attain_frac:.0%} of the requests meet all of their objectives"
    out().print(title, style="bold", markup=False)
    studying.print_table(plans.load_table(todo, found))
    if not any(capacity.best for capacity in found):
        out().print("Nobody carries any load that was tried: ask for less, or give more.", style="yellow")
    for search, capacity in zip(todo, found, strict=True):
        studying.print_table(plans.load_log_table(search, capacity))
    _print_end(recipe, told["wall_s"])


def _plan_cost(
    recipe: Recipe, goal: Goal, workers: int, address: str, json: bool, page: tuple[Path | None, str]
) -> None:
    from headway.app.studies import pages, plans
    from headway.app.studies.cheapest import rank

    start_s = time.perf_counter()
    with err().status("searching") as status:

        def on_found(found: Found) -> None:
            what = found.why or f"{found.instances} instances carry it"
            status.update(f"{found.option.rig.label}, {found.option.policy.label}: {what}")

        ranking = rank(recipe, goal, num_workers=workers, ray_address=address, on_found=on_found)
    told = plans.cost_plain(recipe, goal, ranking, time.perf_counter() - start_s)
    if page[0] is not None:
        pages.cost_page(recipe, goal, ranking, page[0], command=page[1])
    if json:
        print_json(told)
        return
    out().print(f"What carries load {goal.load:g}, the cheapest first", style="bold", markup=False)
    studying.print_table(plans.cost_table(ranking))
    if not ranking.found:
        out().print("Nothing that is allowed carries it.", style="yellow")
    studying.print_table(plans.left_out_table(ranking))
    for note in plans.notes_of(ranking):
        out().print(note, markup=False, style="dim")
    _print_end(recipe, told["wall_s"])


def _print_end(recipe: Recipe, wall_s: float) -> None:
    seeds = f"{len(recipe.seeds)} seeds" if len(recipe.seeds) > 1 else "1 seed"
    out().print(f"{seeds}, {wall_s:.1f} s", markup=False, style="dim")
