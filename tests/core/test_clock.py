"""Clocks: sleepers wake in time and in order."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.clock import Clock, ScaledClock, TestClock, WallClock
from headway.core.errors import ConfigError


@pytest.mark.parametrize("make", [WallClock, lambda: ScaledClock(50.0)], ids=["wall", "scaled"])
def test_real_clocks_never_wake_a_sleeper_too_early(make: type[WallClock]) -> None:
    async def main() -> None:
        clock: Clock = make()
        assert clock.now_s() >= 0.0
        for at_s in (0.01, 0.02, 0.0, -1.0):
            await clock.sleep_until(at_s)
            assert clock.now_s() >= at_s

    asyncio.run(main())


def test_a_scaled_clock_runs_faster() -> None:
    async def main() -> float:
        start_s = time.monotonic()
        await ScaledClock(1000.0).sleep_until(20.0)
        return time.monotonic() - start_s

    assert 0.02 <= asyncio.run(main()) < 10.0


def test_a_rate_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="rate must be > 0, got 0"):
        ScaledClock(0)


def test_the_test_clock_jumps_from_sleeper_to_sleeper() -> None:
    clock, woke = TestClock(), []

    async def sleeper(name: str, *times_s: float) -> None:
        for at_s in times_s:
            await clock.sleep_until(at_s)
            woke.append((name, clock.now_s()))

    async def main() -> None:
        await asyncio.gather(sleeper("a", 5.0, 5.0, 3600.0), sleeper("b", 5.0, 7.0), sleeper("c", 1.0))

    asyncio.run(main())
    assert woke == [("c", 1.0), ("a", 5.0), ("a", 5.0), ("b", 5.0), ("b", 7.0), ("a", 3600.0)]


def test_the_test_clock_waits_while_anybody_works() -> None:
    clock = TestClock(patience=5)
    seen: list[float] = []

    async def works() -> None:
        for _ in range(4):
            await asyncio.sleep(0)
            seen.append(clock.now_s())

    async def main() -> None:
        await asyncio.gather(clock.sleep_until(9.0), works())

    asyncio.run(main())
    assert seen == [0.0] * 4
    assert clock.now_s() == 9.0


def test_cancelled_sleepers_do_not_hold_time_back_or_push_it_on() -> None:
    clock = TestClock()

    async def main() -> None:
        gone = asyncio.create_task(clock.sleep_until(5.0))
        stays = asyncio.create_task(clock.sleep_until(8.0))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        assert clock.now_s() == 8.0
        assert gone.cancelled()

    asyncio.run(main())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=5), min_size=1, max_size=8))
def test_time_never_runs_back_and_everybody_wakes_exactly_then(times_s: list[list[float]]) -> None:
    clock, seen = TestClock(), []

    async def sleeper(mine_s: list[float]) -> None:
        for at_s in sorted(mine_s):
            await clock.sleep_until(at_s)
            seen.append(clock.now_s())
            assert clock.now_s() == at_s

    async def main() -> None:
        await asyncio.gather(*(sleeper(mine_s) for mine_s in times_s))

    asyncio.run(main())
    assert seen == sorted(seen)
    assert sorted(seen) == sorted(at_s for mine_s in times_s for at_s in mine_s)
