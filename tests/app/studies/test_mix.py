"""The cheapest mix of accelerators."""

from __future__ import annotations

import numpy as np
import pytest

from headway.app.studies.mix import Kind, carries_per_s, cheapest_mix, kinds_of
from headway.core.errors import ConfigError
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.sim.serving.cost.replica import replica
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import Fixed
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable

TYPES = {name: replica("llama-3.1-8b", name) for name in ("a10", "l40s")}


def test_kinds_add_up_to_the_trace() -> None:
    table = RequestTable(
        arrival_s=np.arange(5, dtype=float),
        prompt_tokens=np.array([100, 110, 3000, 120, 3200]),
        output_tokens=np.array([10, 20, 500, 300, 400]),
    )
    kinds = kinds_of(table)
    assert [(k.prompt_tokens, k.output_tokens) for k in kinds] == [(105, 15), (120, 300), (3100, 450)]
    assert sum(kind.rate_per_s for kind in kinds) == pytest.approx(5 / 4)


def test_what_an_instance_is_said_to_carry_it_carries() -> None:
    kind = Kind(prompt_tokens=1000, output_tokens=200, rate_per_s=1.0)
    carried = carries_per_s(TYPES["a10"], kind, tpot_s=0.1)
    scenario = ServingScenario(
        trace=TraceSpec(lengths=Fixed(prompt_tokens=1000, output_tokens=200), num_requests=300, rate_per_s=carried),
        model=ModelSpec(name="llama-3.1-8b"),
        fleet=(FleetSpec(accelerator="a10"),),
    )

    def play(load: float) -> dict[str, float]:
        return scenario.play(Stack(batch=SarathiServe()), load=load).report.numbers

    assert play(0.8)["p90_tpot_s"] < 0.11
    assert play(0.8)["mean_queue_s"] < 1.0
    assert play(1.6)["mean_queue_s"] > 5.0


def test_longer_requests_and_stricter_promises_leave_less() -> None:
    short = Kind(prompt_tokens=500, output_tokens=100, rate_per_s=1.0)
    long = Kind(prompt_tokens=4000, output_tokens=100, rate_per_s=1.0)
    huge = Kind(prompt_tokens=40_000, output_tokens=100, rate_per_s=1.0)
    a10 = TYPES["a10"]
    assert carries_per_s(a10, short) > carries_per_s(a10, long) > 0
    assert carries_per_s(a10, huge) == 0  # its memory is too small
    assert carries_per_s(a10, short, tpot_s=0.04) < carries_per_s(a10, short)
    assert carries_per_s(a10, long, ttft_s=0.1) == 0


def test_a_mix_costs_no_more_than_one_type_alone() -> None:
    kinds = [
        Kind(prompt_tokens=200, output_tokens=200, rate_per_s=3.0),
        Kind(prompt_tokens=4000, output_tokens=50, rate_per_s=1.0),
    ]

    def cost(names: tuple[str, ...], usd_per_h: dict[str, float]) -> float:
        mix = cheapest_mix(kinds, {name: TYPES[name] for name in names}, usd_per_h=usd_per_h, tpot_s=0.1, ttft_s=5.0)
        return sum(usd_per_h[name] * num for name, num in mix.items())

    for price in (0.2, 0.6, 1.0):
        prices = {"a10": price, "l40s": 1.5}
        assert cost(("a10", "l40s"), prices) <= min(cost(("a10",), prices), cost(("l40s",), prices)) + 1e-9
    assert cheapest_mix(kinds, TYPES, usd_per_h={"a10": 0.01, "l40s": 1.5}, ttft_s=5.0)["l40s"] == 0


def test_what_nobody_can_carry_is_told() -> None:
    with pytest.raises(ConfigError, match="60000 tokens of prompt and 9 of output must be carried"):
        cheapest_mix([Kind(prompt_tokens=60_000, output_tokens=9, rate_per_s=1.0)], {"a10": TYPES["a10"]})
