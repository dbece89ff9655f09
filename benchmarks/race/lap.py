"""One contender's turn in one round, in a process of its own whose memory is watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from peers.window import Spec
from race.roster import Entrant

PEERS = Path(__file__).resolve().parents[1] / "peers"
WATCH_PERIOD_S = 0.5


class LapFailed(Exception):
    """A contender's process ended badly; the text is the end of what it said."""


def environment(threads: int) -> dict[str, str]:
    """Return what every contender's process finds: the same number of threads, and no network."""
    num = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": num, "MKL_NUM_THREADS": num, "OPENBLAS_NUM_THREADS": num,
        "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip


def run(entrant: Entrant, python: str, verb: str, spec: Spec, verbose: bool = False) -> dict[str, Any]:
    """Let a contender ``prepare`` or ``measure``; return what it found and its peak memory."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
        out = Path(folder) / "found.json"
        process = subprocess.Popen(
            [python, str(PEERS / entrant.script), verb, str(out)],
            stdin=subprocess.PIPE, stdout=said, stderr=None if verbose else said, text=True,
            env=environment(spec.threads), cwd=folder,
        )  # fmt: skip
        assert process.stdin is not None
        noise = NoiseWatch()
        with MemoryWatch(process.pid) as memory:
            process.stdin.write(spec.to_json())
            process.stdin.close()
            code = process.wait()
        found = json.loads(out.read_text()) if out.exists() else {}
        if code != 0:
            said.seek(0)
            print(said.read()[-4000:], file=sys.stderr)
            said.seek(0)
            raise LapFailed(_last_words(said.read(), code))
        return {**found, "peak_rss_bytes": memory.peak_bytes, "others_busy_frac": noise.others_busy_frac()}


def _last_words(text: str, code: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"exit {code}: {lines[-1][:300] if lines else 'without a word'}"


class NoiseWatch:
    """Tells what share of the processors other work takes while a contender runs; the benchmark is only as good."""

    def __init__(self) -> None:
        self._begin = self._now()

    def others_busy_frac(self) -> float:
        """Return the share since the beginning; call it when the contender's process has ended."""
        busy, idle, own = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return max(0.0, busy - own) / max(busy + idle, 1e-9)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Return processor seconds: all that were busy, all that were idle, and those of ended children."""
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        per_s, children = os.sysconf("SC_CLK_TCK"), os.times()
        idle = ticks[3] + ticks[4]
        return (sum(ticks) - idle) / per_s, idle / per_s, children.children_user + children.children_system


class MemoryWatch:
    """Adds up the resident memory of a process and all its descendants, and remembers the peak."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(WATCH_PERIOD_S):
            self.peak_bytes = max(self.peak_bytes, sum(map(_rss_bytes, _family(self.pid))))


def _family(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        for thread in Path(f"/proc/{member}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in thread.read_text().split()]
    return found


def _rss_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0
