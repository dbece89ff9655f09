from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from headway.core.errors import ConfigError, TraceError, UnknownName
from headway.core.parameters import decode
from headway.traces import shipped
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable

CSV = "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{n / 2},{n + 1},{2 * n + 1}\n" for n in range(100))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    path.write_text(CSV)
    return str(path)


def spec(**given: Any) -> TraceSpec:
    return msgspec.convert(given, TraceSpec)


def same(a: RequestTable, b: RequestTable) -> bool:
    columns = ("arrival_s", "prompt_tokens", "output_tokens")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in columns)


def test_a_file_is_played_as_recorded(file: str) -> None:
    table = TraceSpec(source=file).draw(seed=7)
    assert len(table) == 100
    assert table.arrival_s[-1] == 49.5
    assert table.prompt_tokens.tolist() == list(range(1, 101))


def test_a_span_counts_from_its_start(file: str) -> None:
    table = TraceSpec(source=file, start_s=10.0, end_s=20.0).draw()
    assert (len(table), table.arrival_s[0], table.prompt_tokens[0]) == (20, 0.0, 21)


def test_a_random_window_is_a_run_of_neighbours_and_its_seed_decides(file: str) -> None:
    wanted = TraceSpec(source=file, max_requests=10, window="random")
    tables = [wanted.draw(seed) for seed in range(8)]
    assert all((np.diff(table.prompt_tokens) == 1).all() and len(table) == 10 for table in tables)
    assert len({int(table.prompt_tokens[0]) for table in tables}) > 3
    assert same(wanted.draw(3), tables[3])


def test_the_rate_is_what_was_asked_for_and_load_multiplies_it(file: str) -> None:
    wanted = TraceSpec(source=file, max_requests=50, rate_per_s=6.0)
    assert wanted.draw().rate_per_s == pytest.approx(6.0)
    assert wanted.draw(load=1.5).rate_per_s == pytest.approx(9.0)
    assert np.array_equal(wanted.draw(load=1.5).prompt_tokens, wanted.draw().prompt_tokens)


def test_load_changes_nothing_but_times_of_a_made_trace() -> None:
    wanted = spec(lengths="openchat-sharegpt4", arrivals={"kind": "gamma", "rate_per_s": 2.0, "cv": 3.0})
    one, two = wanted.draw(5, 1.0), wanted.draw(5, 2.0)
    np.testing.assert_allclose(one.arrival_s, 2 * two.arrival_s)
    assert np.array_equal(one.output_tokens, two.output_tokens)
    assert not same(one, wanted.draw(6))


def test_arrivals_and_lengths_have_random_streams_of_their_own() -> None:
    lengths = {"kind": "lognormal", "prompt_median": 500, "prompt_sigma": 1, "output_median": 100, "output_p90": 300}
    poisson, weibull = (spec(lengths=lengths, arrivals={"kind": kind}).draw(1) for kind in ("poisson", "weibull"))
    assert np.array_equal(poisson.prompt_tokens, weibull.prompt_tokens)
    assert not np.array_equal(poisson.arrival_s, weibull.arrival_s)


def test_lengths_without_times_arrive_at_once_or_by_poisson(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("input_tokens,output_tokens\n" + "10,5\n" * 2000)
    assert TraceSpec(source=str(path)).draw().duration_s == 0
    table = TraceSpec(source=str(path), rate_per_s=4.0).draw()
    gaps = np.diff(table.arrival_s)
    assert table.rate_per_s == pytest.approx(4.0, rel=0.1)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.1)


def test_lengths_are_cut_only_when_asked(file: str) -> None:
    table = TraceSpec(source=file, max_prompt_tokens=50, max_output_tokens=30, max_tokens=60).draw()
    assert table.output_tokens.max() == 30
    assert (table.prompt_tokens + table.output_tokens).max() == 60
    assert TraceSpec(source=file, max_prompt_tokens=50).draw().prompt_tokens.max() == 50
    assert TraceSpec(source=file).draw().prompt_tokens.max() == 100


def test_shuffled_lengths_stay_in_pairs(file: str) -> None:
    table = TraceSpec(source=file, shuffle_lengths=True).draw(2)
    assert not np.array_equal(table.prompt_tokens, np.arange(1, 101))
    assert np.array_equal(2 * table.prompt_tokens - 1, table.output_tokens)


def test_slo_classes_come_in_their_shares(file: str) -> None:
    table = TraceSpec(source=file, extend_to=4000, slo_classes={"chat": 3.0, "batch": 1.0}).draw()
    chat = sum(table.label("slo_class", row) == "chat" for row in range(4000))
    assert chat / 4000 == pytest.approx(0.75, abs=0.03)


def test_tenants_come_in_their_shares_beside_classes(file: str) -> None:
    classes = {"chat": 3.0, "batch": 1.0}
    table = TraceSpec(source=file, extend_to=4000, slo_classes=classes, tenants={"a": 1.0, "b": 9.0}).draw()
    of_a = [table.label("tenant", row) == "a" for row in range(4000)]
    assert sum(of_a) / 4000 == pytest.approx(0.1, abs=0.02)
    alone = TraceSpec(source=file, extend_to=4000, slo_classes=classes).draw()
    assert [table.label("slo_class", row) for row in range(4000)] == [alone.label("slo_class", r) for r in range(4000)]
    assert "tenant" not in alone.labels


def test_made_prompts_begin_alike_in_groups() -> None:
    groups = {"num_groups": 3, "prefix_tokens": 64, "block_tokens": 16}
    table = spec(lengths={"kind": "fixed", "prompt_tokens": 100}, prefixes=groups, num_requests=500).draw()
    assert table.prefixes is not None
    chains = [table.prefixes[row].tolist() for row in range(500)]
    assert {len(chain) for chain in chains} == {6}
    assert len({tuple(chain[:4]) for chain in chains}) == 3
    assert len({chain[4] for chain in chains}) == 500


def test_recorded_prompts_can_be_given_beginnings() -> None:
    table = spec(source="azure-conv", max_requests=200, prefixes={"num_groups": 2, "prefix_tokens": 64}).draw()
    assert table.prefixes is not None
    assert len({int(table.prefixes[row][0]) for row in range(200) if len(table.prefixes[row])}) == 2


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_traces_are_small_and_sound(name: str) -> None:
    assert shipped.path(name).stat().st_size < 70_000
    table = TraceSpec(source=name, rate_per_s=2.0).draw()
    assert len(table) >= 700
    assert table.rate_per_s == pytest.approx(2.0, rel=0.1)
    assert shipped.catalogue()[name].licence


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "a source or lengths"),
        ({"source": "azure-code", "lengths": "sharegpt"}, "a source or lengths"),
        ({"source": "azure-code", "rate_per_s": 0.0}, "rate_per_s must be > 0"),
        ({"source": "azure-code", "max_requests": 0}, "max_requests must be >= 1"),
        ({"source": "azure-code", "windw": "head"}, "windw"),
        ({"source": "azure-code", "num_requests": 5}, "num_requests must stand beside lengths"),
        ({"lengths": "sharegpt", "max_requests": 5}, "max_requests must stand beside a source"),
        ({"lengths": "sharegpt", "window": "random"}, "window must stand beside a source"),
        ({"lengths": "sharegpt", "arrivals": {"kind": "poison"}}, "poison"),
        ({"lengths": "sharegpt", "arrivals": {"kind": "gamma", "cv": -1.0}}, "cv must be > 0"),
        ({"lengths": {"kind": "lognormal", "prompt_median": 5.0, "output_median": 5.0}}, "exactly one of them"),
    ],
)
def test_wrong_recipes_are_refused_in_one_sentence(given: dict[str, Any], says: str) -> None:
    def setting(*, trace: TraceSpec) -> TraceSpec:
        return trace

    with pytest.raises(ConfigError, match=says):
        decode(setting, {"trace": given}, where="recipe.toml")


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"azure-code.*no such file"):
        TraceSpec(source="azure-cod").draw()
    with pytest.raises(UnknownName, match="openchat-sharegpt4"):
        TraceSpec(lengths="openchat").draw()


def test_a_changed_file_is_read_again(file: str) -> None:
    assert len(TraceSpec(source=file).draw()) == 100
    Path(file).write_text(CSV + "50,1,1\n")
    assert len(TraceSpec(source=file).draw()) == 101
    Path(file).write_text(CSV + "3,1,1\n")
    with pytest.raises(TraceError, match="line 102"):
        TraceSpec(source=file).draw()
    assert TraceSpec(source=file, sort=True).draw().arrival_s[7] == 3.0
