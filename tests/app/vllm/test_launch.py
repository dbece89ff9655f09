from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import headway

FAKE = Path(__file__).with_name("fake_vllm.py")
WAIT_S = 30.0

SCRIPT = """
import json, os, sys
from headway.app.vllm.command import Command
from headway.app.vllm.facts import Probe
from headway.app.vllm.launch import supervise
from headway.core.errors import EngineError

import msgspec

port, patience_s, *further = sys.argv[1:]
argv = (sys.executable, FAKE, "--port", port, *further)


def loading(what):
    print("loading:", what, flush=True)


def ready(facts, pid):
    print("ready:", json.dumps({"pid": pid, **msgspec.to_builtins(facts)}), flush=True)


try:
    probe = Probe(f"http://127.0.0.1:{port}")
    made = Command(argv=argv, environment=dict(os.environ))
    status = supervise(made, probe, float(patience_s), on_loading=loading, on_ready=ready)
except EngineError as error:
    print("error:", error, flush=True)
    status = 44
print("status", status, flush=True)
sys.exit(status)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Healthy(BaseHTTPRequestHandler):
    """Says that all is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Launcher:
    """A launcher in a process of its own, with a vLLM that is played."""

    def __init__(self, *further: str, patience_s: float = WAIT_S, port: int = 0) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(headway.__file__).parents[1])}
        script = SCRIPT.replace("FAKE", repr(str(FAKE)))
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(port or free_port()), str(patience_s), *further],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.facts: dict[str, Any] = {}

    def until(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line
        pytest.fail(f"it ended without saying {word}: {self.process.stderr and self.process.stderr.read()}")

    def ready(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.until("ready:")[6:])
        return facts

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its status and what it wrote as errors."""
        _, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, errors


@pytest.fixture
def launch() -> Iterator[Callable[..., Launcher]]:
    launched: list[Launcher] = []

    def start(*further: str, **options: Any) -> Launcher:
        launched.append(Launcher(*further, **options))
        return launched[-1]

    yield start
    for launcher in launched:
        launcher.process.kill()
        launcher.process.communicate()


def living(group: int) -> list[int]:
    """Processes of a group that are not dead; those whom nobody waited for do not count."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def until_gone(group: int) -> None:
    end_s = time.monotonic() + WAIT_S
    while living(group):
        assert time.monotonic() < end_s, living(group)
        time.sleep(0.05)


def test_it_tells_how_it_goes_and_what_it_is(launch: Callable[..., Launcher]) -> None:
    launcher = launch()
    assert launcher.until("loading:") == "loading: vLLM: the model is known\n"
    facts = launcher.ready()
    pid = facts.pop("pid")
    assert facts == {"model": "mini", "adapters": ["style"], "context_tokens": 512, "num_blocks": 99, "block_size": 16}
    assert len(living(pid)) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_it_drain_and_leaves_nothing(launch: Callable[..., Launcher], number: int) -> None:
    launcher = launch()
    pid = launcher.ready()["pid"]
    launcher.process.send_signal(number)
    status, errors = launcher.end()
    assert status == 0
    assert "draining" in errors  # once it serves, its log is shown
    assert living(pid) == []


def test_a_second_signal_ends_it_on_the_spot(launch: Callable[..., Launcher]) -> None:
    launcher = launch("--deaf")
    pid = launcher.ready()["pid"]
    launcher.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)  # two at once would be one
    launcher.process.send_signal(signal.SIGINT)
    assert launcher.end()[0] == 128 + signal.SIGINT
    until_gone(pid)


def test_one_that_does_not_heed_is_killed(launch: Callable[..., Launcher]) -> None:
    launcher = launch("--deaf", patience_s=0.2)
    pid = launcher.ready()["pid"]
    launcher.process.terminate()
    assert launcher.end()[0] == 128 + signal.SIGKILL
    until_gone(pid)


def test_one_that_is_not_ready_yet_ends_too(launch: Callable[..., Launcher]) -> None:
    launcher = launch("--never")
    launcher.until("loading:")
    launcher.process.terminate()
    assert launcher.end()[0] == 0


def test_one_that_dies_while_starting_says_why(launch: Callable[..., Launcher]) -> None:
    launcher = launch("--fail")
    line = launcher.until("error:")
    status, errors = launcher.end()
    assert status == 44
    assert "vLLM must get as far as serving, and ended with exit status 3" in line
    assert re.search(r"^  ValueError: no such model$", errors, re.MULTILINE)


def test_a_port_that_another_shares_is_refused(launch: Callable[..., Launcher]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        launcher = launch("--never", port=other.server_port)  # healthy at once, for the other one answers
        assert f"port {other.server_port} must be vLLM's alone, and another process listens on it" in launcher.until(
            "error:"
        )
        assert launcher.end()[0] == 44
        other.shutdown()


def test_when_the_launcher_is_killed_nothing_is_left(launch: Callable[..., Launcher]) -> None:
    launcher = launch()
    pid = launcher.ready()["pid"]
    launcher.process.kill()
    until_gone(pid)


@pytest.mark.parametrize(("number", "how"), [(signal.SIGKILL, "signal 9"), (signal.SIGTERM, "exit status 0")])
def test_an_end_that_nobody_asked_for_is_a_failure_and_leaves_nothing(
    launch: Callable[..., Launcher], number: int, how: str
) -> None:
    launcher = launch()
    pid = launcher.ready()["pid"]
    os.kill(pid, number)
    assert f"vLLM must go on until it is asked to end, and ended with {how}" in launcher.until("error:")
    assert launcher.end()[0] == 44
    until_gone(pid)
