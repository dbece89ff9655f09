"""One contender's turn at one case, in a fresh process that is watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from race.lap import NoiseWatch
from simulators.case import Case

FOLDER = Path(__file__).parent


class TrialFailed(Exception):
    """A contender's process ended badly; the text is the end of what it said."""


@dataclass(frozen=True)
class Simulator:
    """A contender.

    Parameters
    ----------
    name : str
        In tables, and for ``--python``.
    script : str
        Its file in this folder.
    module : str
        What must be importable in its Python.
    pip : str
        The line that installs it.
    max_requests : int
        It is given at most so many of the requests, for it takes long.
    cases : tuple of str
        Those that it takes part in; empty for all.
    environment : tuple of (str, str)
        What its process is told besides.
    """

    name: str
    script: str
    module: str
    pip: str
    max_requests: int = sys.maxsize
    cases: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


_PEER = "pip install {} -c constraints/py311-bench.txt"
HEADWAY = Simulator("headway", "headway_world.py", "headway", "pip install -e . -c constraints/py311-cpu.txt")
PLAIN = replace(HEADWAY, name="headway-plain", cases=("one",), environment=(("HEADWAY_NATIVE", "0"),))
"""Without compiled copies of anything."""
PEERS = (
    Simulator(
        "dynamo",
        "dynamo_replay.py",
        "dynamo._core",
        _PEER.format("ai-dynamo-runtime"),
        cases=("one", "hashed", "fleet", "sweep"),
    ),
    Simulator("simpy", "simpy_loop.py", "simpy", _PEER.format("simpy"), max_requests=2_000, cases=("one",)),
)


def interpreters(given: list[str]) -> dict[str, str]:
    """Say which Python each runs in: ``NAME=PATH`` options, then ``HEADWAY_BENCH_PYTHON_NAME``, then this one."""
    names = [simulator.name for simulator in (HEADWAY, PLAIN, *PEERS)]
    found = {
        name: os.environ.get(f"HEADWAY_BENCH_PYTHON_{name.upper().replace('-', '_')}", sys.executable) for name in names
    }
    for item in given:
        name, _, path = item.partition("=")
        if name not in found or not path:
            raise SystemExit(f"--python: must be NAME=PATH with NAME one of {', '.join(names)}, got {item!r}.")
        found[name] = path
    return found


def is_present(simulator: Simulator, python: str) -> bool:
    """Tell whether an interpreter has what a contender needs."""
    probe = [python, "-c", f"import {simulator.module}"]
    try:
        return subprocess.run(probe, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def run(script: str, python: str, case: Case, told: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """Run a script of this folder on a case; return what it printed and what its whole process took.

    Parameters
    ----------
    script : str
        The file.
    python : str
        The interpreter.
    case : Case
        What to simulate.
    told : iterable of (str, str)
        Environment variables.

    Raises
    ------
    TrialFailed
        When it ends badly.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **dict(told)}
    noise, begin_s, begin_cpu_s = NoiseWatch(), time.perf_counter(), _children_cpu_s()
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            [python, str(FOLDER / script), case.to_json()],
            check=False, stdout=subprocess.PIPE, stderr=said, text=True, env=environment,
        )  # fmt: skip
        wall_s, cpu_s = time.perf_counter() - begin_s, _children_cpu_s() - begin_cpu_s
        said.seek(0)
        if done.returncode != 0:
            raise TrialFailed(_last_words(said.read(), done.returncode))
    found = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return {**found, "wall_s": wall_s, "cpu_s": cpu_s, "others_busy_frac": noise.others_busy_frac()}


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _last_words(text: str, code: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"exit {code}: {lines[-1][:300] if lines else 'without a word'}"
