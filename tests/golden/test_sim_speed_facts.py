"""Why simulations are fast, in counts that no noise touches: work goes with events, not with tokens or the past.

The setting is that of `benchmarks/sim_speed.py`: a conversation trace, Poisson arrivals, one replica, 16,384 blocks of
16 tokens. The bounds leave room for other prices and policies' details, and none for stepping through every token.
"""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from headway.core.events import Event
from headway.policies.serving.nouns import Step, StepDone
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.arrivals import Poisson
from headway.traces.spec import TraceSpec


class Tally:
    """An instrument that counts."""

    def __init__(self) -> None:
        self.num_events = self.num_steps = self.num_runs = self.num_tokens = 0

    def on_event(self, event: Event) -> None:
        self.num_events += 1
        if isinstance(event, StepDone):
            self.num_steps += 1
            self.num_runs += event.num_runs
            self.num_tokens += event.num_tokens


class OneByOne(SarathiServe):
    """Never lets a step be repeated."""

    def form(self, *arguments: object) -> Step | None:  # type: ignore[override]
        step = super().form(*arguments)  # type: ignore[arg-type]
        return step and Step(instance=step.instance, pieces=step.pieces)


def scenario(num_requests: int, rate_per_s: float) -> ServingScenario:
    trace = TraceSpec(
        source="azure-conv", extend_to=num_requests, arrivals=Poisson(rate_per_s=rate_per_s), max_tokens=8192
    )
    return ServingScenario(trace=trace, fleet=(FleetSpec(kv_blocks=16_384, max_running=256),))


def play(num_requests: int, rate_per_s: float = 6.45, one_by_one: bool = False) -> tuple[Tally, dict[str, np.ndarray]]:
    tally, batch = Tally(), OneByOne if one_by_one else SarathiServe
    policy = Stack(batch=batch(token_budget=2048, max_seqs=256))
    outcome = scenario(num_requests, rate_per_s).play(policy, instruments=[tally])
    return tally, dict(outcome.works)


@pytest.mark.parametrize("rate_per_s", [0.5, 2.0, 6.45])
def test_a_request_costs_a_handful_of_events_however_many_tokens_it_has(rate_per_s: float) -> None:
    tally, works = play(600, rate_per_s)
    assert works["output_tokens"].sum() > 100 * 600
    # One arrival, one end, a step for each chunk of its prompt, and one to go on after it came and after it went.
    assert tally.num_events < 6 * 600


def test_where_little_runs_many_steps_are_one() -> None:
    tally, _ = play(300, rate_per_s=0.5)
    assert tally.num_runs > 20 * tally.num_steps


def test_the_number_of_events_per_request_does_not_grow_with_the_trace() -> None:
    short, long = play(500)[0], play(2500)[0]
    assert long.num_events / 2500 == pytest.approx(short.num_events / 500, rel=0.15)


def test_who_wants_to_see_every_step_does_and_sees_the_same() -> None:
    coasting, works = play(200, rate_per_s=2.0)
    stepping, same = play(200, rate_per_s=2.0, one_by_one=True)
    assert stepping.num_steps == stepping.num_runs
    assert stepping.num_tokens == coasting.num_tokens
    order, same_order = np.argsort(works["row"]), np.argsort(same["row"])
    for metric in ("queue_s", "ttft_s", "tpot_s", "e2e_s"):
        np.testing.assert_allclose(same[metric][same_order], works[metric][order], rtol=1e-9, atol=1e-9)


def test_requests_that_have_ended_leave_little_more_than_a_row() -> None:
    def peak_bytes(num_requests: int) -> int:
        gc.collect()
        tracemalloc.start()
        try:
            play(num_requests)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(50)  # what is read once
    few, many = peak_bytes(1000), peak_bytes(3000)
    # Columns of the trace and of the log while they are summed up, and samples; a request that stays alive is far more.
    assert (many - few) / 2000 < 1000
