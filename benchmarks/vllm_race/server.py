"""vLLM's API server in a process of its own, started as its users start it, and ended for certain."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from vllm_race.contenders import Contender

START_S = 300.0
STOP_S = 20.0
FAULTS = {"num_policy_failed": "decides from now on", "num_hosting_failed": "Headway could not go on"}
"""What a server says when its policy is replaced by the fallback, and when vLLM's own order takes over."""
_PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """A server did not come up; the text is the end of what it said."""


class Server:
    """One vLLM server.

    Parameters
    ----------
    contender : Contender
        How it decides.
    python : str
        The interpreter that has vLLM.
    model : Path
        The checkpoint.
    flags : sequence of str
        What all contenders have in common.
    """

    def __init__(self, contender: Contender, python: str, model: Path, flags: Sequence[str]) -> None:
        self.contender = contender
        self.is_warm = False
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the server lives)
        command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), *flags, *contender.flags],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd=tempfile.gettempdir(),
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        atexit.register(self.stop)

    def wait_until_ready(self) -> None:
        """Return when it answers.

        Raises
        ------
        StartFailed
            When it has ended, or takes too long.
        """
        give_up_s = time.monotonic() + START_S
        while not _is_healthy(self.url):
            if self._process.poll() is not None or time.monotonic() > give_up_s:
                self.stop()
                raise StartFailed(f"{self.contender.name}: {self.last_words()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End it and all of its processes; may be called twice."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its workers are in its group
        self._process.wait()

    @property
    def group(self) -> int:
        """The process group of all its processes."""
        return self._process.pid

    def faults(self) -> dict[str, int]:
        """Return how often so far a policy, or its hosting, gave up; empty when never."""
        lines = self._lines()
        counts = {name: sum(words in line for line in lines) for name, words in FAULTS.items()}
        return {name: count for name, count in counts.items() if count}

    def last_words(self) -> str:
        """Return the last line that says why, or the last at all."""
        lines = [line.strip() for line in self._lines() if line.strip()]
        why = [line for line in lines if "Error" in line]
        return (why or lines or ["without a word"])[-1][:400]

    def _lines(self) -> list[str]:
        self._said.flush()
        self._said.seek(0)
        return self._said.readlines()

    @property
    def num_unfinished(self) -> int:
        """How many requests run or wait in it."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        counts = ("vllm:num_requests_running", "vllm:num_requests_waiting{")
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(counts)))

    def wait_until_idle(self, limit_s: float = 60.0) -> None:
        """Return when it has nothing left to do, or after a while."""
        give_up_s = time.monotonic() + limit_s
        while self.num_unfinished and time.monotonic() < give_up_s:
            time.sleep(0.1)


class Garage:
    """Servers that are up; one is loaded at a time, and the others sleep."""

    def __init__(self, python: str, model: Path, flags: Sequence[str]) -> None:
        self._python, self._model, self._flags = python, model, tuple(flags)
        self.servers: dict[str, Server] = {}

    def have(self, contenders: Sequence[Contender], at_once: int = 2) -> None:
        """Start those that are missing, a few at a time, after ending those that are not asked for.

        Raises
        ------
        StartFailed
            When one does not come up.
        """
        wanted = {contender.name for contender in contenders}
        for name in [name for name in self.servers if name not in wanted]:
            self.servers.pop(name).stop()
        missing = [contender for contender in contenders if contender.name not in self.servers]
        for first in range(0, len(missing), at_once):
            names = ", ".join(one.name for one in missing[first : first + at_once])
            print(f"{time.strftime('%H:%M:%S')} starting {names}", file=sys.stderr, flush=True)
            started = [
                Server(contender, self._python, self._model, self._flags)
                for contender in missing[first : first + at_once]
            ]
            for server in started:
                server.wait_until_ready()
                self.servers[server.contender.name] = server

    @property
    def groups(self) -> list[int]:
        """The process groups of all servers."""
        return [server.group for server in self.servers.values()]

    def close(self) -> None:
        """End all."""
        while self.servers:
            self.servers.popitem()[1].stop()


def vllm_of(python: str) -> str:
    """Return which vLLM an interpreter has; empty when none."""
    look = (
        "import importlib.util as u, importlib.metadata as m\n"
        "names = m.packages_distributions().get('vllm', ()) if u.find_spec('vllm') else ()\n"
        "print(*(f'{name} {m.version(name)}' for name in names[:1]))"
    )
    return subprocess.run([python, "-c", look], capture_output=True, text=True, check=False).stdout.strip()


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
