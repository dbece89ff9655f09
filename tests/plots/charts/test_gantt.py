from __future__ import annotations

import numpy as np
import pytest

from headway.plots.chart import Spans, lanes_of
from headway.plots.charts.gantt import MAX_LANES, gantt
from plots.made import outcome


def test_spans_are_grouped_by_name_and_none_is_lost() -> None:
    run = outcome()
    marks = [mark for mark in gantt(run.spans).marks if isinstance(mark, Spans)]
    assert {mark.name for mark in marks} == {"prefill", "decode"}
    assert sum(len(mark.start) for mark in marks) == len(run.spans["start_s"])
    took = sum(float((mark.end - mark.start).sum()) for mark in marks)
    assert took == pytest.approx((run.spans["end_s"] - run.spans["start_s"]).sum())


def test_a_window_cuts_what_reaches_over_it() -> None:
    spans = {
        "start_s": np.array([0.0, 4.0, 9.0]),
        "end_s": np.array([2.0, 6.0, 12.0]),
        "resource": np.array(["a"] * 3),
        "name": np.array(["x"] * 3),
    }
    (mark,) = gantt(spans, window_s=(1.0, 5.0)).marks
    assert isinstance(mark, Spans)
    assert (mark.start.tolist(), mark.end.tolist()) == ([1.0, 4.0], [2.0, 5.0])


def test_the_names_that_ran_least_are_one_and_come_last() -> None:
    length = np.arange(1.0, 21.0)
    spans = {
        "start_s": np.zeros(20),
        "end_s": length,
        "resource": np.array(["a"] * 20),
        "name": np.array([f"n{place}" for place in range(20)]),
    }
    marks = [mark for mark in gantt(spans).marks if isinstance(mark, Spans)]
    assert [mark.name for mark in marks] == ["n19", "n18", "n17", "n16", "n15", "n14", "other"]
    assert len(marks[-1].start) == 14


def test_too_many_lanes_are_cut_and_the_title_says_so() -> None:
    chart = gantt(outcome(num_resources=40, num_spans=1000).spans)
    assert len(lanes_of(chart)) == MAX_LANES
    assert chart.title == "What ran where (the first 32 of 40 resources)"
    assert lanes_of(chart)[-1] == "main-31"
