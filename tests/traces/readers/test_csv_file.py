from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

from headway.core.errors import ConfigError, TraceError, UnknownName
from headway.traces.readers.door import read_requests
from headway.traces.readers.options import Options

HEADER = "arrival_s,input_tokens,output_tokens\n"


def write(tmp_path: Path, text: str, name: str = "trace.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_azures_original_is_read_with_its_dates(tmp_path: Path) -> None:
    text = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,110,27\n"
    )
    reading = read_requests(write(tmp_path, text, "trace.csv.gz"))
    np.testing.assert_allclose(reading.table.arrival_s, [0.0, 0.052], atol=1e-9)
    assert reading.table.prompt_tokens.tolist() == [4808, 110]
    assert reading.table.output_tokens.tolist() == [10, 27]
    assert (reading.format, reading.is_timed) == ("csv", True)


@pytest.mark.parametrize(
    "times",
    [
        ("2024-03-01T10:00:00Z", "2024-03-01T10:00:01.5Z"),
        ("2024-03-01T12:00:00+02:00", "2024-03-01T10:00:01.500000+00:00"),
        ("1709287200", "1709287201.5"),
        ("1709287200000", "1709287201500"),
        ("1709287200000000000", "1709287201500000000"),
    ],
)
def test_clock_times_count_from_the_first(tmp_path: Path, times: tuple[str, str]) -> None:
    text = "timestamp,prompt_tokens,output_tokens\n" + "".join(f"{time},1,1\n" for time in times)
    assert read_requests(write(tmp_path, text)).table.arrival_s.tolist() == pytest.approx([0.0, 1.5])


def test_times_that_count_from_a_start_stay_as_they_are(tmp_path: Path) -> None:
    assert read_requests(write(tmp_path, HEADER + "2.5,3,4\n4,5,6\n")).table.arrival_s.tolist() == [2.5, 4.0]


def test_milliseconds_and_labels_are_known_by_their_names(tmp_path: Path) -> None:
    header = "\ufeffTimestamp_ms,User,Model,Request Tokens,Response Tokens,ttft_ms,note\n"
    text = header + "0,ann,m,1,2,30,x\n1500,bob,m,3,4,,y\n"
    table = read_requests(write(tmp_path, text)).table
    assert table.arrival_s.tolist() == [0.0, 1.5]
    assert [table.label("tenant", row) for row in (0, 1)] == ["ann", "bob"]
    assert table.measured["ttft_s"].tolist() == pytest.approx([0.03, np.nan], nan_ok=True)
    assert set(table.labels) == {"tenant", "model"}


def test_columns_of_any_name_can_be_pointed_at(tmp_path: Path) -> None:
    path = write(tmp_path, "when,a,b\n0,1,2\n500,3,4\n")
    options = Options(columns={"arrival_ms": "when", "prompt_tokens": "a", "output_tokens": "b"})
    table = read_requests(path, options=options).table
    assert table.arrival_s.tolist() == [0.0, 0.5]
    assert table.output_tokens.tolist() == [2, 4]
    with pytest.raises(TraceError, match=r"column 'c' must be there.*when, a, b"):
        read_requests(path, options=Options(columns={"prompt_tokens": "c"}))
    with pytest.raises(ConfigError, match="prompt_tokens"):
        read_requests(path, options=Options(columns={"prompt_token": "a"}))


@pytest.mark.parametrize("mark", [";", "\t"])
def test_values_may_be_split_otherwise(mark: str, tmp_path: Path) -> None:
    text = (HEADER + "0,1,2\n1,3,4\n").replace(",", mark)
    assert read_requests(write(tmp_path, text)).table.output_tokens.tolist() == [2, 4]


def test_lengths_alone_have_no_times(tmp_path: Path) -> None:
    reading = read_requests(write(tmp_path, "input_tokens,output_tokens\n1,2\n3,4\n"))
    assert not reading.is_timed
    assert reading.table.arrival_s.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEADER + "0,1\n", r"line 2: must have 3 values.*got 2"),
        (HEADER + "0,1,2\n\n1,many,2\n", r"line 4: prompt_tokens must be a number, got 'many'"),
        (HEADER + "0,1,2\n1,,2\n", r"line 3: prompt_tokens must be a number, got nothing"),
        (HEADER + "0,1,2\n1,1,0\n1,1,0\n", r"line 3: output_tokens must be a whole number >= 1, got 0 \(2 such rows\)"),
        (HEADER + "0,1.5,2\n", "prompt_tokens must be a whole number"),
        (HEADER + "0,inf,2\n", "prompt_tokens must be a whole number"),
        (HEADER + "-1,1,2\n", "line 2: arrival_s must be a number >= 0, got -1"),
        (HEADER + "nan,1,2\n", "line 2: arrival_s must be a number >= 0, got nan"),
        (HEADER + "5,1,2\n4,1,2\n", r"line 3: arrival_s must not go back in time, got 4 after 5.*--sort"),
        (HEADER, "must hold at least one request"),
        ("", "empty file"),
        ("arrival_s,input_tokens\n0,1\n", r"must have a column output_tokens.*--columns output_tokens=NAME"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,2\nyesterday,1,2\n", "line 3: arrival_s"),
        ("a sentence", "known format"),
        ("\x00,\x01\n1,2\n", "must (be CSV|have a column)"),
        (HEADER + '0,1,"' + "x" * 200_000, "must be CSV"),
        ("\x1f\x8bnot gzip", "readable"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TraceError, match=says) as caught:
        read_requests(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_rows_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "0,1,2\n1,1,0\nlater,5,5\n2,x,2\n3,7,8\n-4,1,1\n")
    reading = read_requests(path, drop_bad=True)
    assert reading.table.prompt_tokens.tolist() == [1, 7]
    assert reading.num_left_out == 4
    with pytest.raises(TraceError, match="all 1 had bad values"):
        read_requests(write(tmp_path, HEADER + "0,0,0\n"), drop_bad=True)


def test_rows_out_of_order_can_be_sorted(tmp_path: Path) -> None:
    table = read_requests(write(tmp_path, HEADER + "5,1,1\n0,2,2\n5,3,3\n3,4,4\n"), sort=True).table
    assert table.arrival_s.tolist() == [0.0, 3.0, 5.0, 5.0]
    assert table.prompt_tokens.tolist() == [2, 4, 1, 3]


def test_a_missing_file_and_an_unknown_format_are_said(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="readable trace file"):
        read_requests(tmp_path / "none.csv")
    with pytest.raises(UnknownName, match="mooncake"):
        read_requests(write(tmp_path, HEADER + "0,1,2\n"), format="moncake")


def test_twenty_thousand_packed_rows_take_well_under_a_second(tmp_path: Path) -> None:
    rows = "".join(f"{n * 0.1:.6f},{n % 4000 + 1},{n % 300 + 1}\n" for n in range(20_000))
    path = write(tmp_path, HEADER + rows, "trace.csv.gz")
    took_s = []
    for _ in range(5):
        start_s = time.process_time()
        assert len(read_requests(path).table) == 20_000
        took_s.append(time.process_time() - start_s)
    assert min(took_s) < 0.12  # measured: 0.02


def test_progress_ends_with_the_size_on_disk(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "".join(f"{n},1,1\n" for n in range(40_000)), "trace.csv.gz")
    told: list[int] = []
    read_requests(path, options=Options(on_read=told.append))
    assert told == sorted(told)
    assert told[-1] == path.stat().st_size


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "arrival_s,input_tokens,input_tokens,output_tokens\n0,5,6,7\n"
    with pytest.raises(TraceError, match="columns must differ in name, got 'input_tokens' twice"):
        read_requests(write(tmp_path, text))
