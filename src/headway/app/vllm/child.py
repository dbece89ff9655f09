"""The process of vLLM, with all that it starts, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from headway.app.vllm import guard
from headway.app.vllm.command import Command
from headway.app.vllm.trouble import Trouble
from headway.core.nouns import Seconds

NOISE = (" - leaked", " - ...", "nanobind:", "See https://nanobind")
"""How lines begin that a library of vLLM writes at every end, and that say nothing about it."""
ORPHAN_GRACE_S = 10.0
"""How long vLLM may take to end after we died."""
LINGER_S = 5.0
"""How long processes of vLLM may outlive its first one."""


class Child:
    """vLLM in a process group of its own.

    Nothing of it is left when it ends, and a guard sees to it that nothing is left when we are killed.

    Parameters
    ----------
    command : Command
        How it is started.
    on_line : callable
        Told every line that it writes, without `NOISE`.

    Attributes
    ----------
    trouble : Trouble
        What went wrong in it.
    """

    def __init__(self, command: Command, on_line: Callable[[str], None]) -> None:
        self.trouble = Trouble()
        self._on_line = on_line
        self._process = subprocess.Popen(
            command.argv,
            env=command.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; what comes of it for vLLM we say
        )
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(self.pid), str(ORPHAN_GRACE_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of its first process, and of its group."""
        return self._process.pid

    def wait(self, limit_s: Seconds | None = None) -> int | None:
        """Wait for its end; returns its exit status, or None when it goes on."""
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_end(self) -> None:
        """Ask it to finish what runs, and to end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all its processes on the spot."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """See to it that nothing of it is left."""
        guard.end_group(self.pid, LINGER_S)
        self._process.wait()
        if self._guard.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self._guard.communicate(b".")
        self._reader.join(LINGER_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if not line.startswith(NOISE):
                self.trouble.read(line)
                self._on_line(line)
