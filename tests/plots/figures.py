"""One figure of every kind, and those that have nothing to show."""

from __future__ import annotations

import numpy as np

from headway.plots.chart import Bound, Figure
from headway.plots.charts.against_load import against_load
from headway.plots.charts.arrivals import arrivals
from headway.plots.charts.cdf import cdf, cdf_of_outcomes
from headway.plots.charts.compare import compare
from headway.plots.charts.gantt import gantt
from headway.plots.charts.lengths import lengths
from headway.plots.charts.occupancy import occupancy
from headway.plots.charts.timeline import timeline
from headway.plots.tables import Amount
from plots.made import outcome


def figures() -> dict[str, Figure]:
    """Return them by name."""
    runs = {"serving/vllm": [outcome(0)], "serving/sarathi": [outcome(1)]}
    load = np.array([1.0, 2.0, 4.0])
    sweep = {"load": load, "value": load / 8, "low": load / 9, "high": load / 7}
    over_time = timeline(runs["serving/vllm"][0].samples)
    assert over_time is not None
    return {
        "cdf": cdf_of_outcomes("ttft_s", runs, bounds=[Bound("1 s", 1.0)]),
        "log": cdf("ttft_s", {"a": np.array([0.01, 1.0, 100.0])}, bounds=[Bound("1 s", 1.0)], log=True),
        "load": against_load("goodput_frac", {"serving/vllm": sweep}, bounds=[Bound("90 %", 0.9)]),
        "timeline": over_time,
        "occupancy": occupancy({name: run[0].samples for name, run in runs.items()}),
        "gantt": gantt(runs["serving/vllm"][0].spans),
        "arrivals": arrivals({"trace": runs["serving/vllm"][0].works["arrival_s"]}),
        "lengths": lengths({"prompt": np.arange(1, 100)}),
        "compare": compare("p99_ttft_s", {"a": Amount(1.0, "s", 0.5, 1.5), "<b>": Amount(2.0, "s")}),
        "no curves": cdf("ttft_s", {}, bounds=[Bound("1 s", 1.0)]),
        "no values": cdf("ttft_s", {"a": np.array([np.nan])}, log=True),
        "no spans": gantt({name: np.empty(0) for name in ("start_s", "end_s", "resource", "name")}),
        "no bars": compare("goodput_frac", {}, bounds=[Bound("90 %", 0.9)]),
        "no loads": against_load("p99_ttft_s", {"a": {"load": np.empty(0), "value": np.empty(0)}}),
    }
