"""Several adapters of one model, trained at once by `headway tune`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headway.app.cli.output import err, out
from headway.core.errors import ConfigError

if TYPE_CHECKING:
    from headway.engines.tuning.news import TuneNews
    from headway.engines.tuning.spec import TuneSpec


def names_of(data: Sequence[Path], name: str, valid: Path | None) -> list[str]:
    """Return what the adapters are called: as their files are.

    Raises
    ------
    ConfigError
        When that is not clear, or something is said that is about one adapter.
    """
    names = [path.stem.replace(".", "-") for path in data]
    if name or valid is not None:
        what = "--name" if name else "--valid"
        raise ConfigError(f"tune: {what} must go with one file of examples, got {len(data)}. Train them one by one.")
    if twice := [one for one in names if names.count(one) > 1]:
        raise ConfigError(f"tune: files must have different names, got {twice[0]!r} twice. Rename one.")
    return names


def train_several(data: Sequence[Path], specs: Sequence[TuneSpec]) -> dict[str, Any]:
    """Train all to their ends or to Ctrl-C, and return what came of it."""
    from headway.app.cli.watching import Interrupt
    from headway.app.tuning.alone import held, prepare
    from headway.engines.tuning.lorafusion_runs import JointTraining

    with ExitStack() as stack:
        for path, spec in zip(data, specs, strict=True):
            stack.enter_context(held(Path(spec.folder)))
            prepare(path, None, spec, _say)
        interrupt = stack.enter_context(Interrupt())
        joint, start_s = JointTraining(specs, progress=_say), time.perf_counter()
        finished = joint.train(_tell, stopped=lambda: interrupt.came)
        duration_s = time.perf_counter() - start_s
        if finished:
            joint.finish()
    steps = {run.spec.name: {"step": run.log.standing.step, "num_steps": run.num_steps} for run in joint.runs}
    return {
        "base": specs[0].model,
        "finished": finished,
        "duration_s": duration_s,
        "tokens_per_s": joint.num_tokens / duration_s,
        "steps": steps,
    }


def print_several(told: dict[str, Any]) -> None:
    """Print what came of it."""
    for one in told["adapters"]:
        said = f"{one['name']}: {one['step']} of {one['num_steps']} steps"
        if one["loss"] is not None:
            said += f", loss {one['first_loss']:.3f} -> {one['loss']:.3f}"
        out().print(said, markup=False, soft_wrap=True)
    out().print(f"{told['duration_s']:.1f} s, {told['tokens_per_s']:,.0f} tokens/s together", markup=False)
    if told["finished"]:
        out().print("The adapters are there. Serve them:", markup=False)
        out().print(f"  {told['serve']}", markup=False, style="bold", soft_wrap=True)
    else:
        out().print("Stopped; there are checkpoints of the last steps. Go on:", markup=False)
        out().print(f"  {told['resume']}", markup=False, style="bold", soft_wrap=True)


def _tell(spec: TuneSpec, news: TuneNews) -> None:
    if news.what == "step" and (news.step % max(1, news.num_steps // 10) == 0 or news.step == news.num_steps):
        _say(f"{spec.name}: step {news.step}/{news.num_steps}, loss {news.loss:.3f}")


def _say(what: str) -> None:
    err().print(f"  {what}", markup=False, highlight=False, soft_wrap=True)
