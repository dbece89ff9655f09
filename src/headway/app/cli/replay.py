"""`headway replay`: play what was recorded again, under this policy or another."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, out, print_json
from headway.app.cli.studying import SetFlag, setting

if TYPE_CHECKING:
    from headway.app.studies.job import Job
    from headway.app.studies.recipe import Recipe
    from headway.app.studies.replaying import Difference


def replay(
    recording: Annotated[Path, typer.Argument(metavar="TRACE", help="What `run --record` or a server has written.")],
    *,
    recipe: Annotated[
        Path | None, setting(metavar="FILE.toml", help="Whose hardware, model and promises hold; fitted if left out.")
    ] = None,
    policy: Annotated[str, setting(metavar="ID", help="Who decides; who did then if left out.")] = "",
    set_: SetFlag = None,
    json: Json = False,
) -> None:
    """Play the requests of a recording again in virtual time, and hold old and new against each other.

    Under the policy that was recorded, the first decision that differs is told as well.
    """
    from headway.app.studies.overrides import changed
    from headway.app.studies.recipe import read_recipe
    from headway.app.studies.replaying import measured, replay_job, who_decided

    header = who_decided(recording)
    with tempfile.TemporaryDirectory() as folder:
        setting_of = read_recipe(recipe) if recipe is not None else _fitted(recording, Path(folder))
        job = replay_job(recording, setting_of, policy)
        job = replay_job(recording, changed(setting_of.but(policies=(job.policy,)), pairs=set_ or ()), job.policy.label)
        result, difference = _play(job, recording, Path(folder), is_same=header.policy == job.policy.id)
    told = {
        "trace": str(recording),
        "recorded": {"policy": header.policy, "seed": header.seed, "percentiles_s": measured(recording)},
        "replayed": result,
        "is_same_policy": header.policy == job.policy.id,
        "first_difference": difference,
    }
    if json:
        print_json(told)
    else:
        _print(told, difference)


def _fitted(recording: Path, folder: Path) -> Recipe:
    """Make a recipe of what a live server has recorded: its steps are the price list."""
    from headway.app.calibrate.calibration import calibration_of
    from headway.app.calibrate.recording import read_recording
    from headway.app.cli.calibrate import save
    from headway.app.studies.recipe import recipe_of
    from headway.core.errors import ConfigError

    try:
        found = calibration_of(read_recording(recording))
    except ConfigError as error:
        raise ConfigError(f"{error} Or name the hardware with --recipe FILE.toml.") from error
    save(found, folder / "calibration.toml")
    fleet = {"calibration": str(folder / "calibration.toml"), "block_size": found.block_size, "pool": "engine"}
    if found.max_seqs:
        fleet["max_running"] = found.max_seqs
    return recipe_of({"trace": {"source": str(recording)}, "fleet": [fleet]}, recording)


def _play(job: Job, recording: Path, folder: Path, is_same: bool) -> tuple[dict[str, Any], Difference | None]:
    from headway.app.studies.job import play
    from headway.app.studies.replaying import first_difference
    from headway.app.studies.result import result_of
    from headway.core.trace import FileTrace, TraceHeader

    start_s, again = time.perf_counter(), folder / "again.jsonl"
    header = TraceHeader(family=job.family, policy=job.policy.id, params=job.policy.params, seed=job.seed)
    with studying.progress(job.policy.label) as tell, FileTrace(again, header) as sink:
        outcome = play(job, trace=sink if is_same else None, on_progress=tell)
    difference = first_difference(recording, again, job.family) if is_same else None
    return result_of(outcome, job, time.perf_counter() - start_s), difference


def _print(told: dict[str, Any], difference: Difference | None) -> None:
    from headway.app.studies.tables import attainment_table, replay_table

    old, new = told["recorded"], told["replayed"]
    out().print(f"{told['trace']}: {old['policy'] or 'recorded'} then, {new['name']} now", style="bold", markup=False)
    studying.print_table(replay_table(old["percentiles_s"], new["percentiles_s"]))
    studying.print_table(attainment_table(new))
    if difference is not None:
        line = f"Decision {difference.number + 1}, at {difference.at_s:.6f} s, is the first that differs:"
        out().print(line, markup=False)
        out().print(f"  then {difference.recorded}\n  now  {difference.replayed}", markup=False, soft_wrap=True)
    elif told["is_same_policy"]:
        out().print("Every decision is the same.", style="green")
