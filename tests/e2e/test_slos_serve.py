"""SLOs-Serve on the live engine: attainment by class, and the same order against plain batching as in virtual time."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headway.core.policy import Policy
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.slos_serve import SlosServe
from headway.policies.serving.stack import Stack
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import Fixed
from headway.traces.spec import TraceSpec

PROGRAM = (sys.executable, "-m", "headway.app.cli")
NUM = 500
NUM_TURNS = 3
OVERLOAD = 1.5
FEWER_FRAC = 0.8
BOUNDS_MS = {"chat": {"ttft": 500, "tpot": 50}, "batch": {"ttft": 4000, "tpot": 200}}
SHARES = {"chat": 0.6, "batch": 0.4}
LENGTHS = ("--random-input-len", "300", "--random-output-len", "40", "--random-range-ratio", "0.6", "--ignore-eos")


def cli(*words: str) -> Any:
    done = subprocess.run([*PROGRAM, *words, "--json"], capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


class Server:
    """A live server under one policy, with both classes."""

    def __init__(self, policy: str, folder: Path) -> None:
        self.trace = folder / f"{policy.replace('/', '-')}.jsonl"
        config = folder / "server.toml"
        config.write_text('port = 0\nmax_queue = 4096\ndefault_slo_class = "chat"\n' + "".join(map(promise, BOUNDS_MS)))
        words = ["serve", "--config", str(config), "--policy", policy, "--trace", str(self.trace), "--json"]
        words += ["--access-log", str(folder / "access.log")]  # nobody reads the pipes any more, and they are short
        self.process = subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.url = json.loads(line)["url"]

    def load(self, rate_per_s: str, num: int) -> Any:
        classes = [
            word
            for name, bounds in BOUNDS_MS.items()
            for word in ("--slo-class", f"{name}={SHARES[name]}:ttft={bounds['ttft']},tpot={bounds['tpot']}")
        ]
        words = ("--base-url", self.url, "--num-prompts", str(num), "--request-rate", rate_per_s, "--disable-tqdm")
        return cli("bench", "serve", *words, *LENGTHS, *classes)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)


def promise(name: str) -> str:
    bounds = ", ".join(
        f'{{metric = "{metric}_s", bound = {bound / 1000}, quantile = 0.9}}'
        for metric, bound in BOUNDS_MS[name].items()
    )
    return f'[[slo_classes]]\nname = "{name}"\nslos = [{bounds}]\n'


def attained(result: Any) -> float:
    """Return the share of all requests that met all bounds of their class."""
    rows = result["slo_classes_attained"]
    return float(sum(row["attained_frac"] * SHARES[row["slo_class"]] for row in rows))


def simulated(policy: Policy[ServingView], calibration: Path, rate_per_s: float) -> float:
    lengths = Fixed(prompt_tokens=300, output_tokens=40)
    trace = TraceSpec(lengths=lengths, num_requests=NUM, rate_per_s=rate_per_s, slo_classes=SHARES)
    promises = tuple(
        SloSpec(name=name, ttft_s=bounds["ttft"] / 1000, tpot_s=bounds["tpot"] / 1000)
        for name, bounds in BOUNDS_MS.items()
    )
    fleet = (FleetSpec(calibration=str(calibration)),)
    scenario = ServingScenario(trace=trace, model=ModelSpec(), fleet=fleet, slo=promises)
    return scenario.play(policy).report.numbers["goodput_frac"]


@pytest.mark.slow
def test_live_and_in_virtual_time_more_are_in_time_than_with_plain_batching(tmp_path: Path) -> None:
    servers = [Server(policy, tmp_path) for policy in ("serving/sarathi", "serving/slos-serve")]
    try:
        warm = [server.load("inf", 150)["request_throughput"] for server in servers]
        theirs, ours = in_turns(servers, OVERLOAD * min(warm))
    finally:
        for server in servers:
            server.stop()
    if theirs > FEWER_FRAC:
        pytest.skip("the machine carries far more than it did when that was measured")
    calibration = tmp_path / "calibration.toml"
    cli("calibrate", "--trace", str(servers[0].trace), "--out", str(calibration))
    for times in (1.0, 1.5, 2.0, 3.0, 5.0):  # at about the same overload: prices are those of a busy moment
        plainly = simulated(Stack(batch=SarathiServe()), calibration, times * OVERLOAD * min(warm))
        if plainly < FEWER_FRAC:
            break
    seat = SlosServe()
    whole = Stack(batch=seat, admit=seat, route=seat, order=seat, evict=seat)
    planned = simulated(whole, calibration, times * OVERLOAD * min(warm))
    print(f"in time, live {ours} for {theirs}; in virtual time {planned} for {plainly}")
    assert ours > theirs
    assert planned > plainly


def in_turns(servers: list[Server], rate_per_s: float) -> list[float]:
    """Load each server several times, one after the other; returns the median shares in time."""
    found: list[list[float]] = [[] for _ in servers]
    for _ in range(NUM_TURNS):
        for server, shares in zip(servers, found, strict=True):
            result = server.load(f"{rate_per_s:.1f}", NUM)
            assert result["completed"] == NUM
            assert [row["slo_class"] for row in result["slo_classes_attained"]] == ["chat", "batch"]
            shares.append(attained(result))
    return [statistics.median(shares) for shares in found]
