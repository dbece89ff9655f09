"""The mixed workload by the clock: the same walk along the loads, played by `clocked.py` in vLLM's interpreter.

What is measured is the order alone, on the recipe's A100 and at full length, so that a busy machine changes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from headway.app.studies.statistics import interval
from vllm_race.contenders import BASELINE
from vllm_race.ledger import Ledger, Row
from vllm_race.mixed import GRID, LEVEL, Walk, beside

NAMES = (BASELINE, "vllm-priority", "vllm-tuned", "serving/vllm-v1", "serving/slos-serve", "serving/headway")
SCRIPT = Path(__file__).with_name("clocked.py")


class Player:
    """A process that plays runs of one contender.

    Parameters
    ----------
    python : str
        The interpreter that has vLLM.
    name : str
        The contender.
    """

    def __init__(self, python: str, name: str) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [python, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def play(self, load: float, seed: int, num: int, data: Path | None) -> Row:
        """Play one run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"name": self._name, "load": load, "seed": seed, "num": num, "data": str(data) if data else None}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith("row: "):
                row: Row = json.loads(line.removeprefix("row: "))
                return {"load": load, "seed": seed, **row}
        raise RuntimeError(f"{self._name} ended amid a run: try `echo '{json.dumps(order)}' | python {SCRIPT}`")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def run(
    python: str, ledger: Ledger, names: Sequence[str], num_seeds: int, num_requests: int, data: Path | None
) -> dict[str, Any]:
    """Let every contender walk, two at a time, and sum up."""

    def walked(name: str) -> tuple[Walk, list[list[Row]]]:
        walk, player, points = Walk(0, is_fine=True), Player(python, name), list[list[Row]]()
        while (step := walk.wanted) is not None:
            rows = []
            for seed in range(num_seeds):
                load = GRID**step
                rows.append(
                    ledger.get(
                        ("clock", name, step, seed),
                        lambda load=load, seed=seed: player.play(load, seed, num_requests, data),  # type: ignore[misc]
                    )
                )
            walk.take(step, [row["good_frac"] for row in rows])
            points.append(rows)
            mean = sum(row["good_frac"] for row in rows) / num_seeds
            print(f"{time.strftime('%H:%M:%S')} {name} by the clock at {GRID**step:.2f}: {mean:.3f}", file=sys.stderr)
        player.close()
        return walk, sorted(points, key=lambda rows: float(rows[0]["load"]))

    with ThreadPoolExecutor(2) as pool:
        walks = dict(zip(names, pool.map(walked, names), strict=True))
    base = walks[BASELINE][0]
    return {
        "level": LEVEL,
        "contenders": {name: beside(walk, base) for name, (walk, _) in walks.items()},
        "points": {name: [_point(rows) for rows in points] for name, (_, points) in walks.items()},
    }


def _point(rows: list[Row]) -> dict[str, Any]:
    ends = interval([row["good_frac"] for row in rows])
    by_class = {
        name: sum(row["by_class"][name]["num_good"] for row in rows) / sum(row["by_class"][name]["num"] for row in rows)
        for name in rows[0]["by_class"]
    }
    return {
        "load": rows[0]["load"],
        "good_frac": ends.mean,
        "low": ends.low,
        "high": ends.high,
        "by_class": by_class,
        "num_turned_away": sum(row["num_turned_away"] for row in rows),
        "is_hosted_to_the_end": all(row["is_hosted_to_the_end"] for row in rows),
    }
