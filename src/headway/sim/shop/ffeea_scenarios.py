"""Made-up link problems: satellites that pass over ground stations, with windows of minutes over a day."""

from __future__ import annotations

import numpy as np

from headway.policies.shop.ffeea_nouns import LinkProblem, LinkTask, Window

DAY_S = 86_400
SWITCH_S = ((0, 120), (180, 0))
"""From one mode of a feed to the other."""


def scenario(
    seed: int,
    *,
    num_satellites: int = 40,
    num_stations: int = 8,
    num_windows: int = 400,
    horizon_s: int = DAY_S,
    busy_frac: float = 0.7,
) -> LinkProblem:
    """Draw a problem in which each task is one window: a satellite in sight of a station.

    Parameters
    ----------
    seed : int
        Of all that is drawn.
    num_satellites, num_stations, num_windows : int
        How many there are, >= 1.
    horizon_s : int
        Windows begin within so many seconds, > 900.
    busy_frac : float
        The share of windows within the third of the horizon in which everybody wants links, in [0, 1].

    Returns
    -------
    LinkProblem
        Windows of 5 to 15 minutes, links of at least 2 to 5 and at most the whole window, setups of 30 to 120 s.
    """
    rng = np.random.default_rng(seed)
    stations = tuple(f"station-{n}" for n in range(num_stations))
    modes = rng.integers(2, size=num_windows)
    tasks = []
    for n in range(num_windows):
        length = int(rng.integers(300, 901))
        span = horizon_s // 3 if rng.random() < busy_frac else horizon_s
        start = int(rng.integers(span - 900)) + 120
        window = Window((stations[int(rng.integers(num_stations))],), start, start + length)
        tasks.append(
            LinkTask(
                id=f"link-{n:04d}",
                kind="link",
                arrival_s=0.0,
                satellite=f"satellite-{int(rng.integers(num_satellites)):02d}",
                windows=(window,),
                min_s=int(rng.integers(120, 301)),
                max_s=length,
                setup_s=int(rng.integers(30, 121)),
                mode=int(modes[n]),
            )
        )
    return LinkProblem(tasks=tuple(tasks), antennas=stations, switch_s=SWITCH_S, name=f"made up {seed}")
