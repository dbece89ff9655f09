"""The chip in virtual time: what it refuses, how full it gets, and that policies meet the same jobs."""

from __future__ import annotations

import time

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Preempt, Start
from headway.core.drivers import simulate
from headway.core.events import Arrived, Event
from headway.core.session import Session
from headway.policies.shop.heft import Heft
from headway.policies.shop.soc_nouns import SLOT, Application
from headway.sim.shop import gym
from headway.sim.shop.soc_applications import Chip, radio_applications, radio_chip, top, top_chip
from headway.sim.shop.soc_world import SocWorld, stream


class Watch:
    """An instrument that looks into the chip after every event."""

    def __init__(self, world: SocWorld) -> None:
        self.world = world
        self.most_jobs = 0
        self.arrivals: list[tuple[str, str]] = []

    def on_event(self, event: Event) -> None:
        self.most_jobs = max(self.most_jobs, len(self.world.view.jobs))
        if isinstance(event, Arrived):
            self.arrivals.append((event.work.id, event.work.kind))


def test_no_more_jobs_than_it_holds_are_let_in_and_all_meet_the_same() -> None:
    seen = []
    for rule in ("etf", "random"):
        world = SocWorld(stream((top(),), 4, num_jobs=30, scale_s=5.0, noise=0.2), top_chip(), max_jobs=2)
        watch, policy = Watch(world), Heft(rule=rule)  # type: ignore[arg-type]
        simulate(world, policy, session=Session(policy, world.view, instruments=[watch]))
        assert watch.most_jobs == 2
        assert len(world.took_s) == 30
        seen.append(watch.arrivals)
    assert seen[0] == seen[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["heft", "etf", "eft", "met", "stf", "random"]), st.floats(0.0, 1.0))
def test_no_element_works_twice_at_a_time_and_data_is_waited_for(seed: int, rule: str, noise: float) -> None:
    chip = radio_chip()
    world = SocWorld(stream(radio_applications(chip), seed, num_jobs=6, scale_s=60.0, noise=noise), chip)
    states = {}
    spans: dict[int, list[tuple[float, float]]] = {}
    policy = Heft(rule=rule)  # type: ignore[arg-type]

    class Note:
        def on_event(self, event: Event) -> None:
            states.update(world.view.jobs)
            for place, lane in enumerate(world.view.lanes):
                if lane.running is not None:
                    rows = spans.setdefault(place, [])
                    if not rows or rows[-1][0] != lane.starts_s:
                        assert not rows or lane.starts_s >= rows[-1][0]
                        rows.append((lane.starts_s, 0.0))

    simulate(world, policy, session=Session(policy, world.view, seed=seed, instruments=[Note()]))
    for state in states.values():
        for task, parents in enumerate(state.shape.parents):
            for parent, transfer_s in parents:
                apart_s = 0.0 if state.pe[task] == state.pe[parent] else transfer_s
                assert state.end_s[task] > state.end_s[parent] + apart_s - 1e-9


def test_what_cannot_be_is_refused() -> None:
    application = Application("two", ((4.0, None), (4.0, 4.0)), ((0, 1, 1.0),))
    world = SocWorld(stream((application,), 0, num_jobs=1, scale_s=0.0), Chip(("1", "2")))
    assert isinstance(world.next(), Arrived)
    one = {SLOT: 1.0}
    assert world.apply(Start("job-0.1", {"P1": one})) == "it is not ready"
    assert world.apply(Start("job-0.0", {"P2": one})) == "it cannot run on P2"
    assert world.apply(Start("job-0.0", {"P3": one})) == "there is no element 'P3'"
    assert world.apply(Start("job-0.0", {"P1": one, "P2": one})) == "a task runs on one element, 2 asked for"
    assert world.apply(Start("job-0.0", {"P1": {SLOT: 2.0}})) == "a task takes one slot, {'slot': 2.0} asked for"
    assert world.apply(Start("nonsense", {"P1": one})) == "it is not ready"
    assert world.apply(Preempt("job-0.0")) == "a system on a chip does not know Preempt"
    assert world.apply(Start("job-0.0", {"P1": one})) is None
    assert world.apply(Start("job-0.0", {"P1": one})) == "it is not ready"


def test_noise_is_drawn_per_task_and_its_size_is_as_said() -> None:
    factors = np.concatenate([one.factors for one in stream((top(),), 0, num_jobs=400, scale_s=1.0, noise=0.2)])
    assert factors.mean() == pytest.approx(1.0, abs=0.01)
    assert factors.std() == pytest.approx(0.2, abs=0.01)
    assert min(one.factors.min() for one in stream((top(),), 0, num_jobs=400, scale_s=1.0, noise=0.9)) >= 0.1


def test_thousands_of_tasks_per_second() -> None:
    world = SocWorld(stream((top(),), 0, num_jobs=300, scale_s=25.0, noise=0.2), top_chip())
    start_s = time.process_time()
    simulate(world, Heft())
    assert world.num_tasks == 3000
    assert world.num_tasks / (time.process_time() - start_s) > 3000, "it does 80,000 on one core of 2026"


def test_its_environment_keeps_the_rules_of_gymnasium() -> None:
    gym.register()
    env = gymnasium.make("headway/SocScheduling-v0")
    check_env(env.unwrapped, skip_render_check=True)
    _, info = env.reset(seed=1)
    total, is_over, num = 0.0, False, 0
    while not is_over:
        _, reward, is_over, _, info = env.step(env.action_space.sample(info["action_mask"]))
        total, num = total + float(reward), num + 1
    assert num > 30
    assert -20 < total < 10
