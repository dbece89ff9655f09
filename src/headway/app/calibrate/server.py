"""A server of one's own to measure: `headway serve` in a process, which records what it does."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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
    running = _Process(flags, recording, threads)
    try:
        yield running.ready()
    finally:
        running.stop()


class _Process:
    """A server's process and what it says."""

    def __init__(self, flags: Sequence[str], recording: Path, threads: int) -> None:
        environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
        self._process = subprocess.Popen(
            [*COMMAND, *flags, *FIXED, "--trace", str(recording)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            process_group=0,  # a Ctrl-C is for us to act on
        )
        self._remarks: list[str] = []
        self._lines = queue.Queue[str]()
        self._readers = [
            threading.Thread(target=_read, args=(self._process.stdout, self._lines.put), daemon=True),
            threading.Thread(target=_read, args=(self._process.stderr, self._remarks.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ready(self) -> Server:
        """Wait for the first line, which says where it listens."""
        try:
            facts = json.loads(self._lines.get(timeout=START_S))
        except (queue.Empty, ValueError):
            self.stop()
            raise EngineError(f"calibrate: the server must start, got: {self._last_words()}") from None
        return Server(facts["url"], facts)

    def stop(self) -> None:
        """Ask for an orderly end, and do not wait for one for ever; may be called twice."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()

    def _last_words(self) -> str:
        said = [line.strip() for line in self._remarks if line.strip()]
        sentence = next((line for line in reversed(said) if line.startswith("headway: ")), said[-1] if said else "")
        return sentence.removeprefix("headway: ") or "nothing"


def _read(lines: IO[str], keep: Callable[[str], object]) -> None:
    """Keep every line, and an empty one at the end."""
    with lines:
        for line in lines:
            keep(line)
    keep("")
