from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.core.errors import TraceError
from headway.traces.readers.door import read_requests
from headway.traces.readers.rows import Reading


def read(tmp_path: Path, *records: dict[str, Any], **options: Any) -> Reading:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return read_requests(path, **options)


def test_mooncake_counts_milliseconds_and_hashes_512_tokens(tmp_path: Path) -> None:
    first = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}
    reading = read(tmp_path, first, {**first, "timestamp": 1500, "hash_ids": [0, 2]})
    table = reading.table
    assert reading.format == "mooncake"
    assert table.arrival_s.tolist() == [0.0, 1.5]
    assert table.prefixes is not None
    assert table.prefixes.block_tokens == 512
    assert table.prefixes[1].tolist() == [0, 2]


def test_plain_json_lines_count_seconds(tmp_path: Path) -> None:
    reading = read(tmp_path, {"ts": 1.5, "prompt_len": 3, "output_len": 4}, {"ts": 2, "prompt_len": 5, "output_len": 6})
    assert reading.format == "jsonl"
    assert reading.table.arrival_s.tolist() == [1.5, 2.0]


def test_hashes_of_any_kind_become_equal_numbers_where_they_are_equal(tmp_path: Path) -> None:
    rows = [["a", "b"], ["a", "c"], [2**64 - 1, "b"], None]
    records = [{"prompt_tokens": 32, "output_tokens": 1, "hash_ids": hashes} for hashes in rows]
    prefixes = read(tmp_path, *records).table.prefixes
    assert prefixes is not None
    chains = [prefixes[row].tolist() for row in range(4)]
    assert chains[0][0] == chains[1][0]
    assert chains[0][1] == chains[2][1]
    assert len({value for chain in chains for value in chain}) == 4
    assert chains[3] == []


def test_an_array_of_objects_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text(json.dumps([{"prompt_tokens": 1, "output_tokens": 2}] * 3, indent=1))
    assert len(read_requests(path).table) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{not json}\n", "line 1: must be one JSON object"),
        ('{"input_tokens": 1, "output_tokens": 1}\n\n[1]\n', "line 3: must be one JSON object"),
        ('{"timestamp": 1}\n', "must have a column prompt_tokens"),
        ('{"input_tokens": 1, "output_tokens": 1}\n{"input_tokens": 1}\n', "line 2: output_tokens must be a number"),
        ("[1, 2]", "JSON array of objects"),
        ('{"steps": 3}\n', "known format|column"),
        ('{"steps": [{"input_length": 1}]}\n', "output_length of a step must be a number, got nothing"),
        ('{"session": 0, "call": 0, "t_s": 0.0, "input_tokens": 5}\n', "line 1: output_tokens of a call"),
    ],
)
def test_bad_lines_are_refused_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(TraceError, match=says):
        read_requests(path)


def call(session: int, number: int, t_s: float, prompt: int, output: int) -> dict[str, Any]:
    return {"session": session, "call": number, "t_s": t_s, "input_tokens": prompt, "output_tokens": output}


def test_sessions_become_chains_with_the_models_time_taken_off(tmp_path: Path) -> None:
    # 0.01 s per token; only the third call of session 0 comes after a pause.
    calls = [call(0, 0, 0.0, 100, 100), call(0, 1, 1.0, 200, 50), call(0, 2, 4.5, 300, 10)]
    calls += [call(1, n, float(n), 100, 100) for n in range(40)]
    table = read(tmp_path, *calls).table
    assert table.after is not None
    assert table.gap_s is not None
    (third,) = np.flatnonzero(table.prompt_tokens == 300)
    (second,) = np.flatnonzero(table.prompt_tokens == 200)
    assert table.after[third] == second
    assert table.gap_s[third] == pytest.approx(3.0)
    assert table.gap_s[second] == pytest.approx(0.0)
    assert (table.after < 0).sum() == 2
    assert all(
        table.label("session", int(row)) == table.label("session", int(table.after[row])) for row in (second, third)
    )


def test_a_call_left_out_does_not_break_its_chain(tmp_path: Path) -> None:
    calls = [call(0, 0, 0.0, 10, 10), call(0, 1, 1.0, 0, 10), call(0, 2, 2.0, 10, 10)]
    with pytest.raises(TraceError, match=r"line 2: prompt_tokens.*--drop-bad"):
        read(tmp_path, *calls)
    reading = read(tmp_path, *calls, drop_bad=True)
    assert reading.num_left_out == 1
    assert reading.table.after is not None
    assert reading.table.after.tolist() == [-1, 0]


def test_workflows_become_chains_of_steps(tmp_path: Path) -> None:
    steps = [
        {"step": "plan", "input_length": 10, "output_length": 2},
        {"step": "do", "input_length": 20, "output_length": 3},
    ]
    reading = read(tmp_path, {"request": 7, "steps": steps}, {"request": 8, "steps": steps})
    table = reading.table
    assert not reading.is_timed
    assert table.after is not None
    assert table.after.tolist() == [-1, 0, -1, 2]
    assert [table.label("step", row) for row in range(4)] == ["plan", "do", "plan", "do"]
    assert table.label("session", 3) == "8"


def test_logs_of_servers_carry_what_was_measured(tmp_path: Path) -> None:
    log = {
        "input_tokens": 40, "output_tokens": 5, "arrival_s": 1.0, "queued_s": 1.1, "scheduled_s": 1.5,
        "first_token_s": 2.0, "last_token_s": 4.0, "hash_ids": [3, 4],
    }  # fmt: skip
    early = {**log, "arrival_s": 0.5, "scheduled_s": 0.499, "output_tokens": 1}
    reading = read(tmp_path, log, early)
    table = reading.table
    assert reading.format == "server-log"
    assert table.arrival_s.tolist() == [0.5, 1.0]
    assert table.measured["queue_s"].tolist() == pytest.approx([0.0, 0.5])
    assert table.measured["ttft_s"].tolist() == pytest.approx([1.5, 1.0])
    assert table.measured["tpot_s"].tolist() == pytest.approx([np.nan, 0.5], nan_ok=True)
    assert table.measured["e2e_s"].tolist() == pytest.approx([3.5, 3.0])
    with pytest.raises(TraceError, match="line 1: scheduled_s must be a number"):
        read(tmp_path, {**log, "scheduled_s": None})


def window(client: int, t: float, **more: Any) -> dict[str, Any]:
    return {"client": client, "t": t, "rate": 5.0, "cv": 1.0, "pat": "Gamma", "shape": 1.0, "scale": 0.2, **more}


QUANTILES = {"q": {"input_tokens": [100, 200, 300], "output_tokens": [10, 10]}}


def test_models_of_clients_are_drawn_at_their_rates(tmp_path: Path) -> None:
    bursty = {"pat": "Weibull", "shape": 0.5, "rate": 2.0}
    windows = [window(1, 0, **QUANTILES), window(2, 0, **bursty, **QUANTILES), window(3, 0), window(1, 600, rate=1.0)]
    reading = read(tmp_path, *windows)
    table = reading.table
    assert reading.format == "clients"
    first = table.arrival_s < 600
    per_client = {name: 0 for name in ("1", "2")}
    for row in np.flatnonzero(first).tolist():
        per_client[table.label("tenant", row)] += 1
    assert per_client["1"] == pytest.approx(3000, rel=0.1)
    assert per_client["2"] == pytest.approx(1200, rel=0.2)
    assert (~first).sum() == pytest.approx(600, rel=0.2)  # lengths are carried forward
    assert (table.prompt_tokens.min(), table.prompt_tokens.max()) == (100, 300)
    assert np.median(table.prompt_tokens) == pytest.approx(200, rel=0.05)


def test_a_model_of_clients_is_drawn_for_a_span(tmp_path: Path) -> None:
    from headway.traces.spec import TraceSpec

    read(tmp_path, window(1, 0, **QUANTILES), window(1, 600))
    source = str(tmp_path / "trace.jsonl")
    spec = TraceSpec(source=source, start_s=500.0, end_s=700.0)
    table = spec.draw(1)
    assert len(table) == pytest.approx(1000, rel=0.15)
    assert table.arrival_s[-1] < 200
    assert not np.array_equal(table.prompt_tokens[:50], spec.draw(2).prompt_tokens[:50])
    assert len(TraceSpec(source=source, max_requests=10).draw()) == 10


def test_a_bad_model_of_clients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="line 2: must have rate > 0"):
        read(tmp_path, window(1, 0, **QUANTILES), window(1, 600, pat="Pareto"))
    with pytest.raises(TraceError, match="line 1: q must have both lengths"):
        read(tmp_path, window(1, 0, q={"input_tokens": [1, 2]}))
    with pytest.raises(TraceError, match="line 1: must be one window"):
        read(tmp_path, window(1, 0, rate="often"))
