from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from headway.app.bench.arrivals import arrivals
from headway.app.bench.load import Load, draw, fit
from headway.app.bench.tracefile import read_trace
from headway.core.errors import ConfigError, TraceError


def test_a_poisson_process_ends_at_the_time_that_its_rate_says() -> None:
    times = arrivals(2000, 50.0, 1.0, np.random.default_rng(1))
    gaps = np.diff([0.0, *times])
    assert times[-1] == pytest.approx(40.0)
    assert times == sorted(times)
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1.0, abs=0.1)


def test_burstiness_is_the_shape_of_the_gaps() -> None:
    for shape in (0.25, 4.0):
        gaps = np.diff([0.0, *arrivals(4000, 1.0, shape, np.random.default_rng(2))])
        assert np.std(gaps) / np.mean(gaps) == pytest.approx(shape**-0.5, rel=0.15)
    assert arrivals(4, 2.0, math.inf, np.random.default_rng(0)) == [0.5, 1.0, 1.5, 2.0]


def test_an_infinite_rate_sends_all_at_once() -> None:
    assert arrivals(3, math.inf, 1.0, np.random.default_rng(0)) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("rate", "burstiness"), [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, 0.0)])
def test_impossible_rates_are_refused(rate: float, burstiness: float) -> None:
    with pytest.raises(ConfigError, match="must be > 0"):
        arrivals(3, rate, burstiness, np.random.default_rng(0))


def test_a_rate_of_zero_is_not_taken_for_none() -> None:
    with pytest.raises(ConfigError, match="--request-rate"):
        draw(Load(request_rate_per_s=0.0, num_prompts=2))


def test_random_lengths_stay_in_their_range() -> None:
    plan = draw(Load(num_prompts=500, random_input_len=100, random_output_len=10, random_range_ratio=0.5))
    inputs, outputs = {p.input_tokens for p in plan}, {p.output_tokens for p in plan}
    assert min(inputs) == 50
    assert max(inputs) == 150
    assert outputs == set(range(5, 16))
    assert len({p.id for p in plan}) == 500


def test_the_seed_decides_the_whole_plan() -> None:
    load = Load(num_prompts=50, request_rate_per_s=3.0, random_range_ratio=0.3, slo_shares={"a": 1.0, "b": 1.0}, seed=5)
    assert draw(load) == draw(load)
    assert draw(load) != draw(Load(num_prompts=50, request_rate_per_s=3.0, random_range_ratio=0.3, seed=6))


def test_classes_come_in_their_shares() -> None:
    plan = draw(Load(num_prompts=2000, slo_shares={"a": 3.0, "b": 1.0}))
    assert sum(p.slo_class == "a" for p in plan) / 2000 == pytest.approx(0.75, abs=0.05)


def test_lengths_are_capped_to_the_context() -> None:
    plan = draw(Load(num_prompts=1, random_input_len=900, random_output_len=300))
    (long,), num = fit(plan, 512)
    assert (long.input_tokens, long.output_tokens, num) == (256, 256, 1)
    (short,), num = fit(draw(Load(num_prompts=1, random_input_len=900, random_output_len=10)), 512)
    assert (short.input_tokens, short.output_tokens, num) == (502, 10, 1)
    assert fit(plan, 0) == (plan, 0)
    assert fit(plan, 1200) == (plan, 0)


def test_a_chat_template_gets_its_room() -> None:
    (fitted,), _ = fit(draw(Load(num_prompts=1, random_input_len=900, random_output_len=10)), 512, spare_tokens=32)
    assert fitted.input_tokens + fitted.output_tokens == 480


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04.0319600,110,27\n2023-11-16 18:17:03.9799600,4808,10\n"
)
MOONCAKE = '{"timestamp": 3000, "input_length": 2048, "output_length": 5, "hash_ids": [7, 8, 9, 10]}\n'


@pytest.mark.parametrize("packed", [False, True])
def test_dates_and_foreign_column_names_are_read(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("trace.csv.gz" if packed else "trace.csv")
    path.write_bytes(gzip.compress(AZURE.encode()) if packed else AZURE.encode())
    first, second = read_trace(path)
    assert (first.input_tokens, first.output_tokens, first.at_s) == (4808, 10, 0.0)
    assert (second.input_tokens, second.output_tokens) == (110, 27)
    assert second.at_s == pytest.approx(0.052)


def test_json_lines_count_milliseconds_and_keep_prefix_blocks(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(MOONCAKE + MOONCAKE.replace("3000", "4500"))
    first, second = read_trace(path)
    assert (first.at_s, second.at_s) == (0.0, 1.5)
    assert first.blocks == (7, 8, 9, 10)


def test_seconds_stay_seconds(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n2.5,3,4\n4.0,5,6\n")
    assert [row.at_s for row in read_trace(path)] == [0.0, 1.5]


def test_a_trace_is_replayed_faster(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n" + "".join(f"{n * 2},10,5\n" for n in range(10)))
    plan = draw(Load(trace=str(path), rate_scale=4.0, num_prompts=5))
    assert [p.at_s for p in plan] == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_trace_of_lengths_needs_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "lengths.csv"
    path.write_text("input_tokens,output_tokens\n10,5\n20,6\n")
    with pytest.raises(ConfigError, match="--request-rate"):
        draw(Load(trace=str(path)))
    assert [p.input_tokens for p in draw(Load(trace=str(path), request_rate_per_s=1.0))] == [10, 20]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "arrival_s,input_tokens\n1,2\n", "output_tokens"),
        ("b.csv", "arrival_s,input_tokens,output_tokens\n1,many,2\n", "line 2"),
        ("c.jsonl", "{not json}\n", "line 1"),
        ("d.csv", "arrival_s,input_tokens,output_tokens\n", "at least one request"),
        ("e.csv.gz", "not gzip", "readable"),
    ],
)
def test_broken_traces_say_what_is_wrong(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TraceError, match=says):
        read_trace(tmp_path / name)


def test_a_missing_trace_is_a_trace_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="readable"):
        read_trace(tmp_path / "none.csv")


SHARED = Path(__file__).parents[4] / "shared" / "data" / "llm"


@pytest.mark.parametrize(("name", "num"), [("azure2023_code.csv.gz", 5353), ("mooncake_conversation.jsonl.gz", 6848)])
def test_published_traces_are_read_whole(name: str, num: int) -> None:
    if not (SHARED / name).is_file():
        pytest.skip("the data is not here")
    rows = read_trace(SHARED / name)
    assert len(rows) == num
    assert rows[0].at_s == 0.0
    assert all(row.input_tokens >= 1 and row.output_tokens >= 1 for row in rows)


def test_json_lines_without_lengths_say_so(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"timestamp": 1}) + "\n")
    with pytest.raises(TraceError, match="input_tokens"):
        read_trace(tmp_path / "x.jsonl")
