"""Tables against a solver that proves: whoever keeps all deadlines is right, and some that miss one need not."""

from __future__ import annotations

import numpy as np
import pytest

from headway.policies.shop.cp_sat import CpSat
from headway.policies.shop.quantum_problem import as_problem
from headway.policies.shop.quantum_runs import Run, all_runs
from headway.policies.shop.quantum_schedulers import SCHEDULERS
from headway.policies.shop.result import Result
from headway.policies.shop.schedule import Schedule, faults
from policies.shop.quantum_inputs import direct


def proven(runs: list[Run]) -> Result:
    return CpSat().solve(as_problem(runs), budget_s=20.0, rng=np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(6))
def test_what_is_kept_can_be_kept_and_what_cannot_is_never_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    protocols, periods = {}, {}
    for number in range(4):
        one, other = rng.choice(list("abcd"), 2, replace=False)
        protocols[f"demand-{number}"] = direct(str(one), str(other), int(rng.integers(2, 6)))
        periods[f"demand-{number}"] = int(rng.choice([8, 16]))
    runs, num_slots = all_runs(protocols, periods)
    problem, found = as_problem(runs), proven(runs)
    assert found.status in ("optimal", "infeasible")
    for name in ("rcpsp-np-edf", "rcpsp-cedf"):
        entries = SCHEDULERS[name](runs, num_slots, 4, 0)
        if entries is None:
            continue
        assert found.status == "optimal"
        starts = {(entry.demand, entry.release): entry.start for entry in entries}
        placed = Schedule(tuple(starts[run.demand, run.release] for run in runs), (0,) * len(runs))
        assert faults(problem, placed) == []


def test_earliest_deadline_first_may_miss_what_there_is() -> None:
    # The urgent run is placed first, as early as it may be, and leaves no window of five before the end.
    runs = [Run("urgent", 2, 8, direct("a", "b", 2)), Run("long", 0, 9, direct("a", "b", 5))]
    assert SCHEDULERS["rcpsp-np-edf"](runs, 9, 4, 0) is not None
    runs = [Run("urgent", 3, 8, direct("a", "b", 2)), Run("long", 0, 9, direct("a", "b", 5))]
    assert SCHEDULERS["rcpsp-np-edf"](runs, 9, 4, 0) is None
    entries = SCHEDULERS["rcpsp-exact"](runs, 9, 4, 0)
    assert entries is not None
    assert sorted((entry.demand, entry.start) for entry in entries)[0] == ("long", 0)
    found = proven(runs)
    assert found.schedule is not None
    assert faults(as_problem(runs), found.schedule) == []
