from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.policies.shop.checking import check
from headway.sim.shop.instances.door import read_one
from headway.sim.shop.instances.generate import (
    random_flexible_shop,
    random_flow_shop,
    random_job_shop,
    random_project,
    random_tardiness,
)
from headway.sim.shop.instances.taillard import Dice, taillard_flow_shop, taillard_job_shop

SHARED = Path(__file__).parents[5] / "shared" / "data" / "sched"


def test_taillards_first_job_shop_comes_from_its_published_seeds() -> None:
    made = taillard_job_shop(15, 15, 840612802, 398197754)
    first = [(task.modes[0].needs[0][0], task.modes[0].duration) for task in made.tasks[:15]]
    assert first[:8] == [(6, 94), (12, 66), (4, 10), (7, 53), (3, 26), (2, 15), (10, 65), (11, 82)]
    if not SHARED.is_dir():
        pytest.skip("the public instances are not here")
    assert made.tasks == read_one(SHARED / "jssp.jsonl.gz", "ta01").tasks


def test_taillards_first_flow_shop_comes_from_its_published_seed() -> None:
    made = taillard_flow_shop(20, 5, 873654221)
    durations = [made.tasks[job * 5].modes[0].duration for job in range(20)]
    assert durations[:10] == [54, 83, 15, 71, 77, 36, 53, 38, 27, 87]
    assert made.permutation


def test_the_dice_are_those_of_bratley_fox_and_schrage() -> None:
    dice = Dice(1)
    for _ in range(10_000):
        dice.draw(0, 1)
    assert dice._state == 1043618065  # the known value after 10,000 steps from 1
    with pytest.raises(ConfigError, match="seed must be in"):
        Dice(0)


def test_equal_dice_make_equal_instances_and_others_differ() -> None:
    def all_kinds(seed: int) -> list[object]:
        rng = np.random.default_rng(seed)
        return [
            random_job_shop(4, 3, rng),
            random_flow_shop(4, 3, rng),
            random_flexible_shop(4, 3, 3, 2.0, rng),
            random_tardiness(6, 0.6, 0.4, rng),
            random_project(12, 2, rng),
        ]

    assert all_kinds(1) == all_kinds(1)
    assert all(one != other for one, other in zip(all_kinds(1), all_kinds(2), strict=True))


def test_flexibility_is_the_mean_number_of_machines() -> None:
    problem = random_flexible_shop(20, 8, 10, 3.0, np.random.default_rng(0))
    check(problem)
    assert np.mean([len(task.modes) for task in problem.tasks]) == pytest.approx(3.0, abs=0.25)
    assert {len(task.modes) for task in random_flexible_shop(3, 4, 3, 4.0, np.random.default_rng(0)).tasks} == {4}


def test_due_times_lie_where_tightness_and_spread_say() -> None:
    problem = random_tardiness(2000, 0.6, 0.4, np.random.default_rng(0))
    work = sum(task.modes[0].duration for task in problem.tasks)
    due = [job.due or 0 for job in problem.jobs]
    assert min(due) / work == pytest.approx(0.2, abs=0.01)
    assert max(due) / work == pytest.approx(0.6, abs=0.01)
    assert {job.weight for job in problem.jobs} == set(range(1, 11))


def test_a_projects_network_and_capacities_follow_their_parameters() -> None:
    rng = np.random.default_rng(0)
    for strength in (0.0, 1.0):
        problem = random_project(60, 4, rng, complexity=2.1, factor=0.5, strength=strength)
        check(problem)
        assert sum(len(task.after) for task in problem.tasks) == round(2.1 * 60)
        used = np.mean([len(task.modes[0].needs) for task in problem.tasks])
        assert used / 4 == pytest.approx(0.5, abs=0.1)
        largest = [max((dict(t.modes[0].needs).get(r, 0) for t in problem.tasks), default=0) for r in range(4)]
        assert (list(problem.capacity) == largest) == (strength == 0.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda rng: random_job_shop(0, 3, rng), "num_jobs must be >= 1"),
        (lambda rng: random_flexible_shop(2, 3, 2, 4.0, rng), "flexibility must be in 1 .. 3"),
        (lambda rng: random_tardiness(5, 1.5, 0.2, rng), "tightness must be in 0 .. 1"),
        (lambda rng: random_project(5, 1, rng, strength=2.0), "strength must be in 0 .. 1"),
    ],
)
def test_parameters_out_of_range_are_named(make: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(np.random.default_rng(0))  # type: ignore[operator]
