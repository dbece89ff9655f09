from __future__ import annotations

import math

import pytest

from headway.plots.chart import Bars, Bound
from headway.plots.charts.compare import compare
from headway.plots.tables import Amount


def test_bars_have_the_colour_of_their_name_and_a_common_unit() -> None:
    amounts = {"a": Amount(0.02, "s", 0.01, 0.03), "b": Amount(0.5, "s"), "c": Amount(math.nan, "s")}
    chart = compare("p99_ttft_s", amounts, bounds=[Bound("1 s", 1.0)])
    (bars,) = chart.marks
    assert isinstance(bars, Bars)
    assert bars.low is not None
    assert bars.high is not None
    assert (bars.labels, bars.keys) == (("a", "b", "c"), ("a", "b", "c"))
    assert chart.y.title == "p99 TTFT (ms)"
    assert bars.values[:2].tolist() == pytest.approx([20, 500])
    assert (bars.low[:2].tolist(), bars.high[:2].tolist()) == (pytest.approx([10, 500]), pytest.approx([30, 500]))
    assert chart.bounds[0].axis == "y"
    assert chart.bounds[0].at == pytest.approx(1000)
