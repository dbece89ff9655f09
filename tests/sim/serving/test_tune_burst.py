"""A burst that doubles the load while a job trains beside serving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.actions import Set
from headway.core.scenario import Outcome
from headway.core.trace import MemoryTrace
from headway.policies.serving.nouns import Step
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.tune_spec import TuneJobSpec, TuningSpec
from headway.traces.spec import TraceSpec, length_model

CALM_PER_S, BEGIN_S, END_S, LAST_S = 2.0, 20.0, 35.0, 55.0


def burst(folder: Path, seed: int) -> Path:
    """Twice as many requests per second for a while."""
    rng = np.random.default_rng(seed)
    calm = np.cumsum(rng.exponential(1 / CALM_PER_S, 400))
    more = BEGIN_S + np.cumsum(rng.exponential(1 / CALM_PER_S, 400))
    at_s = np.sort([*calm[calm < LAST_S], *more[more < END_S]])
    prompt, output = length_model("azure-conv").draw(len(at_s), rng)
    rows = zip(at_s, prompt.clip(max=4000), output, strict=True)
    path = folder / f"burst-{seed}.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "\n".join(f"{a},{p},{o}" for a, p, o in rows))
    return path


def play(path: Path, id: str, trace: MemoryTrace | None = None) -> Outcome:
    """On a memory that the burst fills to more than half, of which the job takes a third."""
    made = ServingScenario(
        trace=TraceSpec(source=str(path)),
        model=ModelSpec(name="llama-3.1-8b"),
        fleet=(FleetSpec(kv_blocks=3200),),
        slo=(SloSpec(ttft_s=1.0, tpot_s=0.05),),
        tune=(TuneJobSpec(num_microbatches=360),),
        tuning=TuningSpec(until_done=True),
    )
    return made.play(catalogue.build(id), seed=0, trace=trace)


@pytest.mark.parametrize("seed", [0, 1])
def test_nobody_misses_a_promise_the_job_pauses_and_loses_no_step(tmp_path: Path, seed: int) -> None:
    path, trace = burst(tmp_path, seed), MemoryTrace()
    alone = play(path, "serving/sarathi").report.numbers
    beside = play(path, "tuning/harli", trace).report.numbers
    assert beside["num_finished"] == alone["num_finished"]
    assert beside["goodput_frac"] >= alone["goodput_frac"] - 0.01
    assert beside["num_preemptions"] <= alone["num_preemptions"]
    lent = [action.value for action in trace.actions if isinstance(action, Set)]
    assert {0.0, 1088.0} == set(lent)
    assert lent.count(0.0) == lent.count(1088.0) - 1 >= 1
    assert beside["tune_tokens"] == 360 * 512
    assert beside["tune_steps"] == 45
    units = [unit for action in trace.actions if isinstance(action, Step) for unit in action.tune]
    updates = [unit.microbatch for unit in units if unit.phase == "update"]
    assert updates == list(range(7, 360, 8))
