"""A server of one's own to measure: `headway serve` in a process, which records what it does."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from headway.core.errors import EngineError
from headway.core.nouns import Seconds

COMMAND = (sys.executable, "-m", "headway.app.cli", "serve")
FIXED = ("--json", "--host", "127.0.0.1", "--port", "0", "--access-log", "", "--max-queue", "100000")
START_S: Seconds = 900.0
"""The first start on a machine may compile kernels, and fetch a model."""
STOP_S: Seconds = 60.0


class Server(Struct, frozen=True):
    """A server that runs.

    Parameters
    ----------
    url : str
        Where it listens.
    facts : dict
        What it said when it was ready.
    """

    url: str
    facts: dict[str, Any]


@contextmanager
def serving(flags: Sequence[str], recording: Path, threads: int = 0) -> Iterator[Server]:
    """Run a server while the block lasts; its recording is whole afterwards.

    Parameters
    ----------
    flags : sequence of str
        As for ``headway serve``, the model first.
    recording : Path
        Where it writes what it does.
    threads : int
        Of the engine's arithmetic, >= 1; 0 leaves it to the machine.

    Raises
    ------
    EngineError
        When it does not start; with what it said.
    """
    process = _start(flags, recording, threads)
    try:
        yield _ready(process)
    finally:
        _stop(process)


def _start(flags: Sequence[str], recording: Path, threads: int) -> subprocess.Popen[str]:
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    return subprocess.Popen(
        [*COMMAND, *flags, *FIXED, "--trace", str(recording)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        process_group=0,  # a Ctrl-C is for us to act on
    )


def _ready(process: subprocess.Popen[str]) -> Server:
    said, first = list[str](), queue.Queue[str]()
    assert process.stdout is not None
    assert process.stderr is not None
    threading.Thread(target=_read, args=(process.stderr, said.append), daemon=True).start()
    threading.Thread(target=_read, args=(process.stdout, first.put), daemon=True).start()
    try:
        line = first.get(timeout=START_S)
        facts = json.loads(line)
    except (queue.Empty, ValueError):
        why = next((line.strip() for line in reversed(said) if line.startswith("headway:")), "")
        why = why.removeprefix("headway: ") or "".join(said[-1:]).strip() or "nothing"
        raise EngineError(f"calibrate: the server must start, got: {why}") from None
    return Server(facts["url"], facts)


def _read(lines: Any, keep: Any) -> None:
    for line in lines:
        keep(line)
    keep("")


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask for an orderly end, and do not wait for one for ever."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
