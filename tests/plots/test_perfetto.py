from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.core.scenario import Outcome
from headway.plots.perfetto import Phase, trace_events, write_perfetto
from headway.plots.tracks import lanes_apart
from plots.made import outcome, report

Event = dict[str, Any]


def _of(events: list[Event], *kinds: str) -> dict[tuple[Any, ...], list[Event]]:
    tracks: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in kinds:
            tracks[event["pid"], event.get("tid"), event.get("id"), event["name"] if "C" in kinds else ""].append(event)
    return tracks


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_a_file_holds_every_event(tmp_path: Path, name: str) -> None:
    run = outcome()
    num = write_perfetto(run, tmp_path / name)
    raw = (tmp_path / name).read_bytes()
    trace = json.loads(gzip.decompress(raw) if name.endswith(".gz") else raw)
    assert trace["traceEvents"] == json.loads(json.dumps(list(trace_events(run))))
    assert len(trace["traceEvents"]) == num
    assert trace["otherData"] == {"policy": "serving/sarathi", "seed": "0"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        write_perfetto(outcome(), tmp_path / name)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_slices_are_the_spans_and_never_overlap_on_a_track() -> None:
    run = outcome(num_spans=500)
    tracks = _of(list(trace_events(run)), "X")
    slices = [event for track in tracks.values() for event in track]
    assert len(slices) == 500
    wanted = np.sort(run.spans["start_s"]) * 1e6
    np.testing.assert_allclose(sorted(event["ts"] for event in slices), wanted, atol=1e-3)
    assert sum(e["dur"] for e in slices) == pytest.approx((run.spans["end_s"] - run.spans["start_s"]).sum() * 1e6)
    for track in tracks.values():
        for before, after in pairwise(track):
            assert round(after["ts"] * 1e3) >= round((before["ts"] + before["dur"]) * 1e3)


def test_counters_rise_in_time_and_leave_out_what_was_not_sampled() -> None:
    run = outcome()
    tracks = _of(list(trace_events(run)), "C")
    assert {name for *_, name in tracks} == {"waiting", "running", "kv_used_frac", "watts"}
    for (*_, name), track in tracks.items():
        assert len(track) == (49 if name == "watts" else 50)
        assert [e["ts"] for e in track] == sorted(e["ts"] for e in track)
    first = run.samples["waiting"][run.samples["resource"] == "main-0"]
    assert [e["args"]["value"] for e in tracks[1, None, None, "waiting"]] == first.tolist()


def test_every_resource_is_a_named_process() -> None:
    events = list(trace_events(outcome(num_resources=11)))
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert [names[pid] for pid in sorted(names)] == [*(f"main-{place}" for place in range(11)), "works"]
    assert {e["pid"] for e in events} == set(names)


def test_life_lines_open_and_close_like_brackets() -> None:
    run = outcome()
    lives = _of(list(trace_events(run)), "b", "e")
    assert len(lives) == 200
    for (_, _, number, _), life in lives.items():
        row = int(number) - 1000
        open_names: list[str] = []
        for event in life:
            if event["ph"] == "b":
                open_names.append(event["name"])
            else:
                assert open_names.pop() == event["name"]
        assert open_names == []
        assert [e["ts"] for e in life] == sorted(e["ts"] for e in life)
        assert [e["name"] for e in life if e["ph"] == "b"] == ["work", "queued", "prefill", "decode"]
        assert life[0]["args"]["work"] == int(number)
        arrival_s = run.works["arrival_s"][row]
        assert life[0]["ts"] == pytest.approx(arrival_s * 1e6, abs=1e-3)
        assert life[-1]["ts"] == pytest.approx((arrival_s + run.works["e2e_s"][row]) * 1e6, abs=1e-2)
    assert lives[3, 0, "1003", ""][0]["args"]["tpot_s"] is None


def test_a_phase_that_never_ended_and_one_that_has_no_column_are_left_out() -> None:
    run = Outcome(report(), {"arrival_s": np.array([1.0]), "a_s": np.array([np.nan]), "b_s": np.array([2.0])})
    phases = [Phase("first", "a_s"), Phase("second", "b_s"), Phase("third", "c_s")]
    events = [e for e in trace_events(run, phases=phases) if e["ph"] in "be"]
    assert [(e["ph"], e["name"], e["ts"]) for e in events] == [
        ("b", "work", 1e6),
        ("b", "second", 1e6),
        ("e", "second", 3e6),
        ("e", "work", 3e6),
    ]


def test_of_too_many_works_every_nth_is_drawn_and_the_file_says_so(tmp_path: Path) -> None:
    write_perfetto(outcome(), tmp_path / "run.json", max_works=60)
    trace = json.loads((tmp_path / "run.json").read_bytes())
    assert trace["otherData"]["works"] == "every 4th of 200"
    assert len(_of(trace["traceEvents"], "b", "e")) == 50


def test_a_run_without_anything_to_draw_is_an_empty_trace(tmp_path: Path) -> None:
    assert write_perfetto(Outcome(report()), tmp_path / "run.json") == 0
    assert json.loads((tmp_path / "run.json").read_bytes())["traceEvents"] == []


def test_another_suffix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in .json or .json.gz, got 'run.pb'. Name it run.json.gz."):
        write_perfetto(outcome(), tmp_path / "run.pb")
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=40))
def test_spans_that_run_at_once_get_lanes_of_their_own_and_no_more(spans: list[tuple[int, int]]) -> None:
    start = np.array(sorted(a for a, _ in spans), dtype=np.int64)
    end = start + np.array([length for _, length in spans], dtype=np.int64)
    lanes = lanes_apart(start, end)
    for lane in set(lanes.tolist()):
        mine = lanes == lane
        assert (start[mine][1:] >= end[mine][:-1]).all()
    busiest = max((int(((start <= t) & (end > t)).sum()) for t in start.tolist()), default=0)
    assert len(set(lanes.tolist())) <= max(busiest, min(len(spans), 1)) + 1
