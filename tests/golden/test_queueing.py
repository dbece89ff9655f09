"""The serving world, arranged as textbook stations, agrees with queueing theory: request by request, and on average."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from headway.app.studies.statistics import interval
from headway.numerics.queueing import md1, mg1_shared, mm1, mmc

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SEEDS, NUM_REQUESTS = range(8), 2_500

pytestmark = pytest.mark.skipif(not (BENCHMARKS / "fidelity").is_dir(), reason="needs a source checkout")


@pytest.fixture(scope="module")
def stations() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("fidelity.stations")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize(("law", "servers"), [("exponential", 1), ("steady", 1), ("gamma", 1), ("exponential", 3)])
def test_every_wait_is_that_of_the_recursion(stations: ModuleType, law: str, servers: int) -> None:
    arrangement = stations.Arrangement(0.8 * servers, law=law, num_servers=servers)
    table = arrangement.draw(2_000, seed=1)
    waits_s = arrangement.play(table)["wait_s"]
    np.testing.assert_allclose(waits_s, stations.waits_s(table, arrangement.token_s, servers), atol=1e-9)
    assert waits_s.max() > 1.0


def test_the_recursion_is_right_by_hand(stations: ModuleType) -> None:
    table = stations.Arrangement(1.0, law="steady", grain=10).draw(4, seed=0)
    table.arrival_s[:] = [0.0, 0.5, 0.6, 5.0]
    assert stations.waits_s(table, 0.1, 1).tolist() == pytest.approx([0.0, 0.5, 1.4, 0.0])
    assert stations.waits_s(table, 0.1, 2).tolist() == pytest.approx([0.0, 0.0, 0.4, 0.0])


def measured(arrangement: object, name: str) -> list[float]:
    runs = [arrangement.play(arrangement.draw(NUM_REQUESTS, seed), seed) for seed in SEEDS]  # type: ignore[attr-defined]
    return [float(run[name][NUM_REQUESTS // 10 :].mean()) for run in runs]


def within(values: list[float], predicted: float) -> None:
    """Theory lies within the interval, and the interval says something."""
    found = interval(values, 0.99)
    assert found.low <= predicted <= found.high, found
    assert found.half < 0.35 * predicted


def test_one_server_with_exponential_service_waits_as_m_m_1(stations: ModuleType) -> None:
    within(measured(stations.Arrangement(0.6), "wait_s"), mm1(0.6, 1.0).wait_s)


def test_steady_service_waits_half_as_long_as_m_d_1_says(stations: ModuleType) -> None:
    within(measured(stations.Arrangement(0.6, law="steady"), "wait_s"), md1(0.6, 1.0).wait_s)


def test_three_servers_behind_one_queue_respond_as_m_m_3(stations: ModuleType) -> None:
    within(measured(stations.Arrangement(2.1, num_servers=3), "response_s"), mmc(2.1, 1.0, 3).response_s)


@pytest.mark.parametrize("law", ["exponential", "steady", "gamma"])
def test_small_steps_shared_by_all_respond_as_processor_sharing_whatever_the_law(
    stations: ModuleType, law: str
) -> None:
    arrangement = stations.Arrangement(0.6, law=law, shared=True, grain=200)
    within(measured(arrangement, "response_s"), mg1_shared(0.6, 1.0).response_s)
