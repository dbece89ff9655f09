"""How long prompts and answers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from headway.plots.chart import Chart
from headway.plots.charts.cdf import cdf


def lengths(
    columns: Mapping[str, npt.NDArray[Any]], *, title: str = "Lengths", unit: str = "tokens", log: bool | None = None
) -> Chart:
    """Draw the distribution of lengths, one curve per name.

    Parameters
    ----------
    columns : dict of str to array
        One length per request, by name, for example ``"prompt"`` and ``"output"``.
    title : str
        Above the chart.
    unit : str
        What is counted; default tokens.
    log : bool or None
        Whether the axis is logarithmic; None decides by how wide the distribution is.
    """
    chart = cdf("length", columns, title=title, log=log, kind="lengths")
    return replace(chart, x=replace(chart.x, unit=unit))
