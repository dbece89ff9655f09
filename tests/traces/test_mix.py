"""Traces side by side."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.traces.generate.lengths import Fixed
from headway.traces.mix import mixed
from headway.traces.spec import TraceSpec
from headway.traces.table import Labels, Prefixes, RequestTable


def table(
    times: list[float], size: int | None, chains: list[list[int]], after: list[int] | None = None
) -> RequestTable:
    num = len(times)
    return RequestTable(
        np.array(times),
        np.full(num, 100),
        np.full(num, 5),
        labels={"session": Labels(np.zeros(num, np.int64), ("s",))},
        prefixes=None if size is None else Prefixes.of(size, chains),
        after=None if after is None else np.array(after),
        gap_s=None if after is None else np.full(num, 0.5),
    )


def test_requests_come_by_arrival_with_links_to_their_own() -> None:
    one = table([0.0, 2.0, 4.0], None, [], after=[-1, 0, 1])
    other = table([1.0, 3.0], None, [])
    both = mixed([one, other], "both")
    assert both.arrival_s.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert both.after is not None
    assert both.after.tolist() == [-1, -1, 0, -1, 2]
    assert both.gap_s is not None
    assert both.gap_s.tolist() == [0.5, 0.0, 0.5, 0.0, 0.5]
    assert [both.label("session", row) for row in range(5)] == ["0/s", "1/s", "0/s", "1/s", "0/s"]


def test_equal_beginnings_stay_equal_within_a_table_and_differ_between_tables() -> None:
    one = table([0.0, 2.0], 64, [[7], [7, 8]])
    other = table([1.0, 3.0], 32, [[7, 9], [7]])
    both = mixed([one, other, table([4.0], None, [[]])], "both")
    assert both.prefixes is not None
    assert both.prefixes.block_tokens == 32
    chains = [both.prefixes[row].tolist() for row in range(5)]
    assert chains[2][:2] == chains[0]
    assert len(chains[2]) == 4
    assert chains[1][0] == chains[3][0]
    assert set(chains[0]).isdisjoint(chains[1])
    assert chains[4] == []


def test_a_recipe_names_parts_and_load_squeezes_them_together() -> None:
    parts = (
        TraceSpec(
            lengths=Fixed(prompt_tokens=10, output_tokens=2), num_requests=20, rate_per_s=2.0, slo_classes={"a": 1}
        ),
        TraceSpec(
            lengths=Fixed(prompt_tokens=30, output_tokens=3), num_requests=10, rate_per_s=1.0, slo_classes={"b": 1}
        ),
    )
    spec = TraceSpec(mix=parts)
    found = spec.draw(3, 1.0)
    assert len(found) == 30
    assert sorted({found.label("slo_class", row) for row in range(30)}) == ["a", "b"]
    assert np.allclose(spec.draw(3, 2.0).arrival_s * 2, found.arrival_s)
    assert not np.array_equal(spec.draw(4, 1.0).arrival_s, found.arrival_s)
    assert np.array_equal(spec.draw(3, 1.0).arrival_s, found.arrival_s)


def test_only_the_first_of_all_are_used_when_fewer_are_asked_for() -> None:
    part = TraceSpec(lengths=Fixed(prompt_tokens=10, output_tokens=2), num_requests=20, rate_per_s=2.0)
    found = TraceSpec(mix=(part, part), max_requests=30).draw()
    assert len(found) == 30
    assert np.array_equal(found.arrival_s, TraceSpec(mix=(part, part)).draw().arrival_s[:30])


def test_nothing_else_stands_beside_a_mix() -> None:
    part = TraceSpec(source="azure-code")
    with pytest.raises(ConfigError, match="rate_per_s must stand in a table of mix"):
        TraceSpec(mix=(part,), rate_per_s=2.0)
