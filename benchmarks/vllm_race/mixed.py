"""The mixed workload: the load that is carried while 90% of the promised requests are within all their bounds.

Loads are steps of a grid. Every contender walks along it from the same step, two steps at a time until it has one load
that it carries and one that it does not (and then, where it is to be fine, to the one between). All seeds are played at
every step; the contenders take turns at each seed, so that a machine that drifts does so for all of them.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from headway.app.studies.statistics import interval
from vllm_race import bounds as idle_times
from vllm_race.bounds import Bounds
from vllm_race.contenders import BASELINE, contender
from vllm_race.driver import play
from vllm_race.ledger import Ledger, Row
from vllm_race.score import score
from vllm_race.server import Garage, Server
from vllm_race.watch import Watch
from vllm_race.workload import draw

NAMES = (BASELINE, "vllm-tuned", "serving/slos-serve", "serving/headway")
GRID = 1.15
"""Ratio of neighbouring loads."""
LEVEL = 0.9
FIRST_FRAC = 0.6
"""Where all walks begin: so much of the requests per second that the baseline serves when it is flooded."""
FARTHEST = 16
"""Steps from there at which a walk is given up."""
WARM_UP = {"seed": 1_000_000, "rate_per_s": 25.0, "num": 60, "salt": "warm"}


class Terms(Struct, frozen=True, kw_only=True):
    """What the mixed part is played with."""

    num_seeds: int
    num_requests: int
    is_fine: bool
    data: Path | None


class Mixed:
    """The mixed part.

    Parameters
    ----------
    garage : Garage
        Where servers come from.
    ledger : Ledger
        What was measured before.
    names : sequence of str
        The contenders, the baseline first.
    terms : Terms
        How much is played.
    """

    def __init__(self, garage: Garage, ledger: Ledger, names: Sequence[str], terms: Terms) -> None:
        self._garage, self._ledger, self.names, self._terms = garage, ledger, tuple(names), terms

    def run(self) -> dict[str, Any]:
        """Measure what an idle server takes, walk, and sum up."""
        idle = self._ledger.get(("idle",), lambda: msgspec.to_builtins(idle_times.measure(self._ready(BASELINE))))
        self._bounds = msgspec.convert(idle, idle_times.Idle).bounds()
        start = self._first_step()
        walks = {name: Walk(start, self._terms.is_fine) for name in self.names}
        while wanted := {name: step for name, walk in walks.items() if (step := walk.wanted) is not None}:
            for seed in range(self._terms.num_seeds):
                turn = seed % len(wanted)
                for name in (*list(wanted)[turn:], *list(wanted)[:turn]):
                    self._played(name, wanted[name], seed)
            for name, step in wanted.items():
                walks[name].take(step, [self._played(name, step, seed)["good_frac"] for seed in self._seeds])
        return self._summary(walks, idle)

    @property
    def _seeds(self) -> range:
        return range(self._terms.num_seeds)

    def _first_step(self) -> int:
        """Flood the baseline once; the step of the grid that lies so much below what it serves then."""
        found = self._ledger.get(("flood",), lambda: self._flood(self._ready(BASELINE)))
        return round(math.log(FIRST_FRAC * found["served_per_s"], GRID))

    def _flood(self, server: Server) -> Row:
        rows = draw(**WARM_UP, data=self._terms.data)  # type: ignore[arg-type]
        start_s = time.perf_counter()
        play(server, rows, {})
        server.is_warm = True
        return {"served_per_s": len(rows) / (time.perf_counter() - start_s)}

    def _ready(self, name: str) -> Server:
        """Return a server that is up, with all the others of this part."""
        self._garage.have([contender(each) for each in self.names])
        return self._garage.servers[name]

    def _played(self, name: str, step: int, seed: int) -> Row:
        return self._ledger.get(("mixed", name, step, seed), lambda: self._play(self._ready(name), step, seed))

    def _play(self, server: Server, step: int, seed: int) -> Row:
        if not server.is_warm:
            self._flood(server)
        rate_per_s = GRID**step
        rows = draw(seed, rate_per_s, self._terms.num_requests, f"{step}", self._terms.data)
        watch, start_s = Watch(self._garage.groups), time.perf_counter()
        answers = play(server, rows, self._bounds)
        row = {"step": step, "rate_per_s": rate_per_s, "seed": seed, **score(rows, answers, self._bounds)}
        row |= {"wall_s": time.perf_counter() - start_s, **watch.found(), **server.faults()}
        name = server.contender.name
        print(
            f"{time.strftime('%H:%M:%S')} {name} {rate_per_s:.2f}/s seed {seed}: {row['good_frac']:.3f}",
            file=sys.stderr,
            flush=True,
        )
        return row

    def _summary(self, walks: dict[str, Walk], idle: Row) -> dict[str, Any]:
        base = walks[BASELINE]
        return {
            "idle": idle,
            "bounds": {name: msgspec.to_builtins(one) for name, one in self._bounds.items()},
            "level": LEVEL,
            "contenders": {name: beside(walk, base) for name, walk in walks.items()},
            "points": {name: self._points(name, walk) for name, walk in walks.items()},
        }

    def _points(self, name: str, walk: Walk) -> list[dict[str, Any]]:
        """Return, load by load, what share of the promised requests was good, in all and by class."""
        return [
            _point([self._played(name, step, seed) for seed in self._seeds], self._bounds)
            for step in sorted(walk.goods)
        ]


class Walk:
    """One contender's way along the grid.

    Parameters
    ----------
    start : int
        Where it begins.
    is_fine : bool
        Whether it ends at neighbours of the grid, or at steps two apart.
    """

    def __init__(self, start: int, is_fine: bool) -> None:
        self._start, self._apart = start, 1 if is_fine else 2
        self.goods: dict[int, list[float]] = {}

    @property
    def wanted(self) -> int | None:
        """The step to be played next; None when the walk is over."""
        if not self.goods:
            return self._start
        low, high = self.carried, self.failed
        if low is None or high is None:
            beyond = min(self.goods) - 2 if low is None else max(self.goods) + 2
            return beyond if abs(beyond - self._start) <= FARTHEST else None
        return (low + high) // 2 if high - low > self._apart else None

    def take(self, step: int, goods: list[float]) -> None:
        """Take in the shares of good requests at a step, one for each seed."""
        self.goods[step] = goods

    @property
    def failed(self) -> int | None:
        """The smallest step that is not carried."""
        return min((step for step, goods in self.goods.items() if statistics.mean(goods) < LEVEL), default=None)

    @property
    def carried(self) -> int | None:
        """The largest step that is carried and below all that are not."""
        beyond = self.failed
        below = [step for step in self.goods if beyond is None or step < beyond]
        return max(below, default=None)

    def load_per_s(self, seeds: Sequence[int] | None = None) -> float:
        """Return the load at which the mean share, of all seeds or some, crosses the level; on a line between steps.

        Where the curve stays above or below the level, this is the largest or the smallest load that was played.
        """
        curve = [
            (step, statistics.mean(goods if seeds is None else [goods[seed] for seed in seeds]))
            for step, goods in sorted(self.goods.items())
        ]  # fmt: skip
        crossing = float(curve[0][0] if curve[0][1] < LEVEL else curve[-1][0])
        for (low, above), (high, below) in pairwise(curve):
            if above >= LEVEL > below:
                crossing = low + (high - low) * (above - LEVEL) / (above - below)
                break
        return float(GRID**crossing)


def beside(walk: Walk, base: Walk) -> dict[str, Any]:
    """Return how much one contender carries, alone and beside the baseline, with intervals of 95% over the seeds."""
    num = len(next(iter(walk.goods.values())))
    load, ratio = (
        _spread(of, num) for of in (walk.load_per_s, lambda seeds: walk.load_per_s(seeds) / base.load_per_s(seeds))
    )
    return {
        **{f"load_{name}": value for name, value in load.items()},
        **{f"ratio_{name}": value for name, value in ratio.items()},
        "is_bracketed": walk.carried is not None and walk.failed is not None,
    }


def _spread(of: Callable[[Sequence[int]], float], num_seeds: int) -> dict[str, float]:
    """Return a number that all seeds give together, and an interval by leaving out each of them in turn (jackknife)."""
    seeds = range(num_seeds)
    whole = math.log(of(seeds))
    if num_seeds < 2:
        return {"found": math.exp(whole), "low": math.nan, "high": math.nan}
    without = [math.log(of([other for other in seeds if other != seed])) for seed in seeds]
    half = interval([num_seeds * whole - (num_seeds - 1) * each for each in without]).half
    return {"found": math.exp(whole), "low": math.exp(whole - half), "high": math.exp(whole + half)}


def _point(rows: list[Row], promised: dict[str, Bounds]) -> dict[str, Any]:
    ends = interval([row["good_frac"] for row in rows])
    found: dict[str, Any] = {"rate_per_s": rows[0]["rate_per_s"], "good_frac": ends.mean}
    found |= {"low": ends.low, "high": ends.high, "by_seed": [row["good_frac"] for row in rows]}
    found["by_class"] = {
        name: sum(row["by_class"][name]["num_good"] for row in rows) / sum(row["by_class"][name]["num"] for row in rows)
        for name in promised
    }
    found["num_turned_away"] = sum(one["num_turned_away"] for row in rows for one in row["by_class"].values())
    found["batch_p50_e2e_s"] = statistics.median(row["by_class"]["batch"].get("p50_e2e_s", math.inf) for row in rows)
    found["others_busy_frac"] = max(row["others_busy_frac"] for row in rows)
    return found | {"runs": rows}
