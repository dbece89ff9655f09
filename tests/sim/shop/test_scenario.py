"""A shop as a scenario: what a recipe says is what is played, and the numbers are those of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.core.parameters import decode
from headway.policies.shop.dispatching import Dispatching
from headway.policies.shop.making import job_shop
from headway.policies.shop.problem import Job
from headway.sim.shop.drawing import draw, released
from headway.sim.shop.recipe import JobsSpec, ShopSpec
from headway.sim.shop.scenario import ShopScenario
from sim.shop.shops import LeastSlack, ShortestFirst


def scenario(**more: Any) -> ShopScenario:
    setting = {"shop": {"machines": 4}, "jobs": {"num": 80, "busy_frac": 0.7}, **more}
    return decode(ShopScenario, setting, where="test")


def test_the_numbers_are_those_of_the_jobs() -> None:
    outcome = scenario(slo=[{"tardiness_s": 30.0, "quantile": 0.9}]).play(Dispatching(rule=ShortestFirst()))
    numbers, works = outcome.report.numbers, outcome.works
    assert numbers["num_finished"] == 80 == len(works["flow_time_s"])
    assert numbers["num_tasks"] == 320
    assert numbers["mean_flow_time_s"] == pytest.approx(works["flow_time_s"].mean())
    assert numbers["p99_tardiness_s"] == pytest.approx(np.quantile(works["tardiness_s"], 0.99))
    assert numbers["makespan_s"] == pytest.approx((works["arrival_s"] + works["flow_time_s"]).max())
    assert numbers["on_time_frac"] == pytest.approx((works["tardiness_s"] == 0).mean())
    (row,) = outcome.report.slos
    assert row.met_frac == pytest.approx(numbers["goodput_frac"]) == (works["tardiness_s"] <= 30.0).mean()


def test_machines_are_as_busy_as_asked_for() -> None:
    many = scenario(jobs={"num": 3000, "busy_frac": 0.7, "due_factor": [2.0, 2.0]})
    busy = many.play(Dispatching(rule=ShortestFirst())).report.numbers["machine_busy_frac"]
    assert busy == pytest.approx(0.7, abs=0.04)


def test_spans_are_what_ran_where() -> None:
    spans = scenario().play(Dispatching(rule=ShortestFirst())).spans
    assert len(spans["start_s"]) == 320
    for machine in np.unique(spans["resource"]):
        mine = spans["resource"] == machine
        order = np.argsort(spans["start_s"][mine])
        assert (spans["start_s"][mine][order][1:] >= spans["end_s"][mine][order][:-1] - 1e-9).all()


def test_two_policies_meet_the_same_jobs_and_the_same_breakdowns() -> None:
    rough = scenario(noise_cv=0.3, failures={"mtbf_s": 300.0, "repair_s": 30.0})
    one, two = (rough.play(Dispatching(rule=rule), seed=3) for rule in (ShortestFirst(), LeastSlack()))
    assert sorted(one.works["arrival_s"]) == sorted(two.works["arrival_s"])
    assert one.report.numbers["num_breakdowns"] == pytest.approx(two.report.numbers["num_breakdowns"], abs=4)
    assert one.report.numbers["num_breakdowns"] > 10
    again = rough.play(Dispatching(rule=ShortestFirst()), seed=3)
    assert again.report.numbers == one.report.numbers


def test_jobs_come_closer_together_at_a_higher_load_and_stay_the_same() -> None:
    shop, jobs = ShopSpec(machines=3), JobsSpec(num=20)
    slow, fast = (list(draw(shop, jobs, load, np.random.default_rng(1))) for load in (1.0, 2.0))
    assert [job.tasks for job in slow] == [job.tasks for job in fast]
    assert fast[-1].arrival_s == pytest.approx(slow[-1].arrival_s / 2)


@pytest.mark.parametrize("kind", ["job-shop", "flow-shop", "flexible"])
def test_every_kind_of_shop_is_played_to_its_end(kind: str) -> None:
    made = scenario(shop={"machines": 4, "kind": kind, "tasks": 3}, jobs={"num": 30, "arrivals": "at-once"})
    numbers = made.play(Dispatching(rule=ShortestFirst())).report.numbers
    assert numbers["num_finished"] == 30
    assert numbers["num_tasks"] == 90


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    scenario().play(Dispatching(rule=ShortestFirst()), on_progress=lambda *pair: told.append(pair))
    assert told == [(n, 80) for n in range(1, 81)]


def test_a_shop_that_asks_too_much_says_so() -> None:
    overloaded = scenario(jobs={"num": 10, "busy_frac": 0.95}, failures={"mtbf_s": 90.0, "repair_s": 10.0})
    assert "queues grow" in overloaded.notes[0]
    assert scenario().notes == ()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"shop": {"machines": 0}}, "machines must be >= 1"),
        ({"shop": {"machines": 3, "tasks": 4}}, "tasks in 0 .. machines"),
        ({"shop": {"shortest_s": 9, "longest_s": 3}}, "shortest_s <= longest_s"),
        ({"shop": {"machines": 3, "choices": 4}}, "choices must be in"),
        ({"jobs": {"num": 0}}, "num must be >= 1"),
        ({"jobs": {"due_factor": [3.0, 1.0]}}, "due_factor must be"),
        ({"jobs": {"weights": []}}, "weights must be"),
        ({"failures": {"mtbf_s": -1.0, "repair_s": 1.0}}, "mtbf_s and repair_s must be > 0"),
        ({"noise_cv": -0.1}, "noise_cv must be >= 0"),
        ({"slo": [{"name": "gold", "tardiness_s": 1.0}]}, "of class default"),
    ],
)
def test_what_cannot_be_is_one_sentence(setting: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        decode(ShopScenario, setting, where="test")


def test_an_instance_is_played_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "two.txt"
    path.write_text("2 2\n0 3 1 2\n1 4 0 1\n")
    made = scenario(shop={"instance": str(path)}, jobs={"arrivals": "at-once"})
    numbers = made.play(Dispatching(rule=ShortestFirst())).report.numbers
    assert (numbers["num_finished"], numbers["num_tasks"], numbers["makespan_s"]) == (2, 4, 6.0)
    assert numbers["machine_busy_frac"] == pytest.approx(10 / 12)
    later = scenario(shop={"instance": str(path)}, jobs={"busy_frac": 0.5})
    assert later.play(Dispatching(rule=ShortestFirst())).report.numbers["num_finished"] == 2


def test_due_times_and_deadlines_of_an_instance_count_from_arrivals() -> None:
    problem = job_shop("two", [[(0, 3)], [(0, 4)]], jobs=(Job(due=5, deadline=9), Job(due=6, deadline=9)))
    jobs = released(problem, JobsSpec(busy_frac=0.5), 1.0, np.random.default_rng(0))
    assert jobs[1].arrival_s > 0
    for job, due in zip(jobs, (5, 6), strict=True):
        assert (job.due_s, job.deadline_s) == (job.arrival_s + due, job.arrival_s + 9)


def test_kinds_of_drawn_shops_are_what_people_call_them() -> None:
    jobs = list(draw(ShopSpec(machines=3, kind="flow-shop"), JobsSpec(num=2), 1.0, np.random.default_rng(0)))
    rows = [[(task.modes[0].needs[0][0], task.modes[0].duration) for task in job.tasks] for job in jobs]
    assert job_shop("drawn", rows).kind == "flow shop"
