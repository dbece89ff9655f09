"""AIBrix's autoscalers, by hand-computed cases and in a small world that has to grow."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headway.core.actions import Set
from headway.core.drivers import simulate
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.aibrix import AIBrix
from headway.policies.serving.aibrix_scale import ALGORITHMS, Rules, Sample
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestFinished
from headway.policies.serving.state import InstanceState
from headway.policies.serving.wrap import as_policy
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld

RULES = Rules(target=0.5, down_cooldown_s=50.0, stable_s=60.0, panic_s=20.0, lag_s=0.0)


def course(name: str, totals: Sequence[float], num: int = 2, rules: Rules = RULES) -> list[int]:
    """Return how many instances are wanted after each of the loads, seen every 10 s; what is wanted is up at once."""
    algorithm, found = ALGORITHMS[name](rules), []
    for turn, total in enumerate(totals):
        num = algorithm.wanted(Sample(10.0 * turn, total, num), num)
        found.append(num)
    return found


@pytest.mark.parametrize("name", ["apa", "kpa", "hpa"])
def test_within_the_tolerance_nothing_changes(name: str) -> None:
    assert course(name, [1.0, 1.08, 0.92, 1.05, 1.0]) == [2] * 5


@pytest.mark.parametrize("name", ["apa", "hpa"])
def test_the_ratio_says_how_many_are_needed(name: str) -> None:
    assert course(name, [1.3]) == [3]  # 0.65 each is 1.3 times the target: 2.6
    assert course(name, [1.9]) == [4]


def test_one_decision_asks_for_no_more_than_twice_as_many() -> None:
    for name in ALGORITHMS:
        assert course(name, [9.0]) == [4]


def test_no_fewer_until_the_cooldown_is_over() -> None:
    grown_then_calm = [2.0, *[0.2] * 9]
    for name in ("apa", "kpa"):
        found = course(name, grown_then_calm)
        assert found[0] == 4
        assert found[:5] == [4] * 5, name
        assert found[-1] < 4
    assert course("hpa", grown_then_calm)[:6] == [4] * 6  # it was right to have four less than 50 s ago


def test_no_decision_asks_for_less_than_half() -> None:
    assert course("apa", [0.1] * 2, num=8)[0] == 4


def test_kpa_panics_when_demand_soars_and_does_not_shrink_while_it_does() -> None:
    soars = [1.0] * 6 + [6.0, 6.0] + [1.0] * 4
    found = course("kpa", soars, rules=RULES._replace(panic_times=1.5))
    assert found[:6] == [2] * 6
    assert found[6] == 4  # 2.67 in 20 s against 1.71 in 60 s is soaring: 6 are right, twice as many is the limit
    assert found[7] == 8  # 4.33 in 20 s
    assert min(found[7:]) == found[7]
    calm = course("kpa", soars, rules=RULES._replace(panic_times=10.0))
    assert max(calm) < max(found)


def test_apa_looks_at_the_short_window_and_kpa_at_the_long_one() -> None:
    rises = [1.0] * 6 + [1.5] * 3
    assert course("apa", rises, rules=RULES._replace(panic_s=5.0))[6] == 3
    assert course("kpa", rises)[6] == 2


def test_hpa_sees_late() -> None:
    rises = [1.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert course("hpa", rises)[2] == 4
    late = course("hpa", rises, rules=RULES._replace(lag_s=20.0))
    assert late[:4] == [2] * 4
    assert late[4] == 4


def test_hpa_takes_those_that_are_not_ready_for_idle() -> None:
    algorithm = ALGORITHMS["hpa"](RULES)
    assert algorithm.wanted(Sample(0.0, 2.0, 2), 2) == 4
    assert algorithm.wanted(Sample(10.0, 2.0, 2), 4) == 4  # 2.0 over four is what is aimed at
    assert ALGORITHMS["apa"](RULES).wanted(Sample(10.0, 2.0, 2), 4) == 8


@pytest.mark.parametrize("scaler", ["apa", "kpa", "hpa"])
def test_a_pool_grows_under_load_and_shrinks_after(scaler: str) -> None:
    requests = [
        TrueRequest(request=Request(id=str(n), arrival_s=at_s, prompt_tokens=150, max_tokens=100), output_tokens=100)
        for n, at_s in enumerate([*(0.1 * k for k in range(200)), *(25.0 + 4.0 * k for k in range(20))])
    ]
    instances = [InstanceState(f"i{n}", BlockPool(100), num_layers=2) for n in range(4)]
    world = ServingWorld(requests, instances[:1], spares=instances[1:], startup_s={"": 2.0})
    part = AIBrix(
        strategy="least-request", scaler=scaler, every_s=1.0, stable_s=6.0, panic_s=2.0, down_cooldown_s=10.0,
        lag_s=1.0,
    )  # type: ignore[arg-type]  # fmt: skip
    policy, trace = as_policy("route+place+scale", part), MemoryTrace(100_000)
    report = simulate(world, policy, session=Session(policy, world.view, trace=trace))
    asked = [int(action.value) for action in trace.actions if isinstance(action, Set)]
    assert not report.num_refused
    assert sum(isinstance(record, RequestFinished) for record in trace.records) == 220
    assert asked[0] == 2
    assert max(asked) >= 3
    assert asked[-1] == 1
    assert world.view.pools[""].num_up == 1


def test_nothing_is_scaled_where_it_cannot_be() -> None:
    requests = [
        TrueRequest(request=Request(id=str(n), arrival_s=0.1 * n, prompt_tokens=150, max_tokens=9), output_tokens=9)
        for n in range(50)
    ]
    world = ServingWorld(requests, [InstanceState("a", BlockPool(100), num_layers=2)], can=frozenset())
    policy = as_policy("route+place+scale", AIBrix(scaler="apa", every_s=1.0))
    assert not simulate(world, policy, session=Session(policy, world.view, strict=True)).num_refused
