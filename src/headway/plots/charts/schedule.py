"""A schedule: which task runs when on which machine, coloured by job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.plots.chart import Axis, Bound, Chart, Spans, natural_order

MAX_JOBS = 28
"""Jobs that can be told apart by colour; the others share those of the first."""
MAX_SPANS = 4_000
"""With more spans there is no room for their texts."""


def schedule_chart(
    spans: Sequence[tuple[float, float, str, str, str]],
    *,
    title: str,
    end: float | None = None,
    bound: float | None = None,
) -> Chart:
    """Draw a schedule.

    Parameters
    ----------
    spans : sequence of (float, float, str, str, str)
        Start, end, machine, job and text of everything that runs.
    title : str
        Above the chart.
    end : float or None
        Where the last task ends, drawn as a line.
    bound : float or None
        The proven bound on that end, drawn as another where they differ.
    """
    jobs = natural_order({job for _, _, _, job, _ in spans})
    shared = {job: place % MAX_JOBS for place, job in enumerate(jobs)}
    names = [job if len(jobs) <= MAX_JOBS else f"{job} and others" for job in jobs[:MAX_JOBS]]
    marks = []
    for place, name in enumerate(names):
        own = [span for span in spans if shared[span[3]] == place]
        columns = list(zip(*own, strict=True))
        texts = columns[4] if len(spans) <= MAX_SPANS else ()
        marks.append(
            Spans(name, np.array(columns[0], float), np.array(columns[1], float), np.array(columns[2]), texts=texts)
        )  # fmt: skip
    lines = [Bound(name, at) for name, at in (("end", end), ("bound", bound)) if at is not None]
    if len(lines) == 2 and bound == end:  # proven: one line says it
        lines = lines[:1]
    return Chart(title, Axis("time", low=0.0), Axis(), tuple(marks), tuple(lines), kind="jobs")
