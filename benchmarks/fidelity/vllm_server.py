"""A vLLM server of one's own, whose scheduler logs its steps."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import headway
from headway.core.errors import EngineError

START_S = 900.0
"""The first start compiles the model."""
STOP_S = 30.0
LOG = "HEADWAY_STEP_LOG"
SOURCES = (Path(__file__).parents[1], Path(headway.__file__).parents[1])
"""What the server must be able to import: this folder, and Headway."""


@dataclass(frozen=True)
class Setup:
    """How every server of one comparison is started.

    Parameters
    ----------
    python : str
        The interpreter of an environment that has vLLM.
    model : Path
        What it serves.
    threads : int
        Of its arithmetic, >= 1.
    flags : sequence of str
        Given to vLLM as they are.
    environment : mapping of str to str
        Added to that of this process.
    """

    python: str
    model: Path
    threads: int
    flags: Sequence[str]
    environment: Mapping[str, str]

    def command(self, scheduler: str, port: int) -> list[str]:
        """Return the command line."""
        module = [self.python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(self.model)]
        door = ["--served-model-name", "model", "--host", "127.0.0.1", "--port", str(port)]
        return [*module, *door, "--scheduler-cls", scheduler, "--disable-uvicorn-access-log", *self.flags]

    def surroundings(self, log: Path) -> dict[str, str]:
        """Return the environment."""
        found = [str(path) for path in SOURCES] + [os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(word for word in found if word),
            "OMP_NUM_THREADS": str(self.threads),
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            LOG: str(log),
            **self.environment,
        }


@dataclass(frozen=True)
class Server:
    """A server that runs: where it listens, and the group of its processes."""

    url: str
    group: int

    def cpu_s(self) -> float:
        """Return how much processor time its processes have taken."""
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = file.read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:13])) if int(fields[2]) == self.group else 0
        return ticks / os.sysconf("SC_CLK_TCK")


class Noise:
    """Tells which share of the processors neither the server nor we take."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._begin = self._now()

    def others_busy_frac(self) -> float:
        """Return the share since the beginning."""
        busy_s, idle_s, ours_s = (now - then for now, then in zip(self._now(), self._begin, strict=True))
        return max(0.0, busy_s - ours_s) / max(busy_s + idle_s, 1e-9)

    def _now(self) -> tuple[float, float, float]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        per_s, idle, own = os.sysconf("SC_CLK_TCK"), ticks[3] + ticks[4], os.times()
        return (sum(ticks) - idle) / per_s, idle / per_s, sum(own[:2]) + self._server.cpu_s()


@contextmanager
def serving(setup: Setup, scheduler: str, log: Path, flags: Sequence[str] = ()) -> Iterator[Server]:
    """Run a server while the block lasts; what it says goes to ``log`` with ``.txt`` behind.

    Raises
    ------
    EngineError
        When it does not start.
    """
    port, said = _free_port(), log.with_suffix(".txt")
    log.unlink(missing_ok=True)
    with said.open("w") as file:
        process = subprocess.Popen(
            [*setup.command(scheduler, port), *flags], env=setup.surroundings(log), stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, process_group=0, cwd=log.parent,
        )  # fmt: skip
    try:
        _wait(process, f"http://127.0.0.1:{port}", said)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        _stop(process)


def _wait(process: subprocess.Popen[bytes], url: str, said: Path) -> None:
    give_up_s = time.monotonic() + START_S
    while time.monotonic() < give_up_s and process.poll() is None:
        with suppress(OSError), urlopen(f"{url}/health", timeout=5.0) as answer:
            if answer.status == 200:
                return
        time.sleep(0.5)
    words = [line for line in said.read_text().splitlines() if "Error" in line] or ["nothing about why"]
    print(said.read_text()[-3000:], file=sys.stderr)
    raise EngineError(
        f"fidelity vllm: the server must start, got: {words[-1]}. Name an interpreter that has vLLM with --python."
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and all that it started; its children share its process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])
