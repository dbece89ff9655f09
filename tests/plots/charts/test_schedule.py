"""Schedules as charts."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.plots.chart import Spans
from headway.plots.charts.schedule import MAX_JOBS, schedule_chart
from headway.plots.save import save

SPANS = [(0.0, 3.0, "M0", "J0", "J0.0"), (3.0, 7.0, "M1", "J0", "J0.1"), (0.0, 2.0, "M1", "J1", "J1.0")]


def spans_of(num_jobs: int) -> list[Spans]:
    chart = schedule_chart([(0.0, 1.0, f"M{n}", f"J{n}", "t") for n in range(num_jobs)], title="many")
    return [mark for mark in chart.marks if isinstance(mark, Spans)]


def test_every_job_has_its_marks_and_every_task_its_text() -> None:
    chart = schedule_chart(SPANS, title="two jobs", end=7.0, bound=6.0)
    marks = {mark.name: mark for mark in chart.marks if isinstance(mark, Spans)}
    assert marks.keys() == {"J0", "J1"}
    assert marks["J0"].texts == ("J0.0", "J0.1")
    assert list(marks["J0"].lane) == ["M0", "M1"]
    assert [(line.name, line.at) for line in chart.bounds] == [("end", 7.0), ("bound", 6.0)]


def test_a_proven_end_is_one_line() -> None:
    assert [line.name for line in schedule_chart(SPANS, title="", end=7.0, bound=7.0).bounds] == ["end"]


def test_many_jobs_share_colours_and_none_is_lost() -> None:
    marks = spans_of(3 * MAX_JOBS)
    assert len(marks) == MAX_JOBS
    assert sum(len(mark.start) for mark in marks) == 3 * MAX_JOBS


@pytest.mark.parametrize("suffix", ["svg", "html"])
def test_it_is_drawn_with_its_texts(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    save(schedule_chart(SPANS, title="two jobs", end=7.0), tmp_path / f"plan.{suffix}")
    text = (tmp_path / f"plan.{suffix}").read_text()
    assert "J0.1" in text
    assert "two jobs" in text


def test_texts_must_be_as_many_as_spans() -> None:
    mark = spans_of(1)[0]
    with pytest.raises(ConfigError, match="equally long"):
        Spans("J", mark.start, mark.end, mark.lane, texts=("a", "b"))
