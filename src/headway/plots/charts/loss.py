"""How the loss falls while a model is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headway.plots.chart import Axis, Chart, Curve

Points = Sequence[tuple[float, float]]


def loss_curves(losses: Mapping[str, Points], title: str = "Loss") -> Chart:
    """Draw losses over the steps of the optimizer.

    Parameters
    ----------
    losses : mapping of str to points
        By name, such as ``"training"``: steps with the loss, in nats per token. Names without points are left out.
    title : str
        One line above it.
    """
    curves = [_curve(name, points) for name, points in losses.items() if points]
    return Chart(title, Axis("step"), Axis("loss", "nats per token"), tuple(curves), kind="losses")


def _curve(name: str, points: Points) -> Curve:
    x, y = (np.array(side, np.float64) for side in zip(*points, strict=True))
    return Curve(name, x, y, marked=len(points) <= 20)
