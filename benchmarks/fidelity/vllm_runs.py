"""What is measured on vLLM, kept in a folder piece by piece, so that a run that was cut short can be carried on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fidelity.live import tell
from fidelity.step_reading import Log, read_log
from fidelity.vllm_server import Noise, Server, Setup, serving
from headway.app.bench.answer import Answer
from headway.app.bench.load import Planned
from headway.app.calibrate.asking import Asker
from headway.app.calibrate.design import Design
from headway.traces import reshape
from headway.traces.readers.door import read_requests
from headway.traces.shipped import path as shipped
from headway.traces.table import RequestTable

BUDGET_TOKENS = 1024
"""The most that a pile of prompts of the calibration is made for; a step of the server may be larger."""
FEWEST_STEPS = 60
"""Of bursts: on a busy machine they go on for longer."""
WRITTEN_S = 0.2
"""A step is written after its tokens are out; by then it is."""
OWN = "vllm"
"""What the scheduler of vLLM itself is called here."""
LOGGED = "fidelity.step_log.LoggedScheduler"
LOGGED_HOSTED = "fidelity.step_log_hosted.LoggedHeadwayScheduler"
Capacity = Callable[[], float]
"""Tells how many requests a second are 100 % of load."""


class Piece(msgspec.Struct):
    """What was sent to a server, and what it logged meanwhile.

    Parameters
    ----------
    log : Log
        Of the server.
    answers : list of Answer
        As the client saw them, by the time of their sending.
    rate_per_s : float
        Of the sending; 0 in a calibration.
    others_busy_frac : float
        Which share of the processors something else took.
    """

    log: Log
    answers: list[Answer]
    rate_per_s: float = 0.0
    others_busy_frac: float = 0.0


@dataclass(frozen=True)
class Traffic:
    """Requests as long as those of a recorded trace, and as far apart.

    Parameters
    ----------
    source : str
        A shipped trace or a file.
    scale : float
        All lengths are multiplied by it, > 0.
    context_tokens : int
        Longest prompt and output together.
    seed : int
        Of where in the trace a run begins.
    """

    source: str
    scale: float
    context_tokens: int
    seed: int

    def table(self) -> RequestTable:
        """Return the whole trace."""
        path = Path(self.source) if Path(self.source).exists() else shipped(self.source)
        table = reshape.lengthened(read_requests(path).table, self.scale)
        return reshape.shortened(table, max_tokens=self.context_tokens - 1)

    def run(self, load: float, rate_per_s: float, seconds: float) -> RequestTable:
        """Return some neighbours of it, at a rate; which ones depends on the load, but not on who decides."""
        rng = np.random.default_rng([self.seed, round(100 * load)])
        return reshape.at_rate(reshape.window(self.table(), max(10, round(rate_per_s * seconds)), rng), rate_per_s)


@dataclass(frozen=True)
class Measuring:
    """Measures one scheduler: runs to test prices on, and before and after each the bursts that they are fitted to.

    Parameters
    ----------
    setup : Setup
        Of the server.
    folder : Path
        Where pieces are kept.
    name : str
        `OWN`, or a policy of ours that decides inside vLLM.
    params : dict
        Of that policy.
    calibrate_s : float
        How long bursts are sent before each run, and again after it.
    seed : int
        Of the bursts.
    """

    setup: Setup
    folder: Path
    name: str
    params: dict[str, Any]
    calibrate_s: float
    seed: int

    def file(self, what: str) -> Path:
        """Return where a piece is kept."""
        return self.folder / f"{self.name.replace('/', '-')}-{what}.json"

    def piece(self, what: str) -> Piece | None:
        """Return what was measured, if it was."""
        file = self.file(what)
        return msgspec.json.decode(file.read_bytes(), type=Piece) if file.is_file() else None

    def bursts(self, *loads: float) -> list[Piece]:
        """Return the bursts before and after runs, as far as they were sent."""
        found = [self.piece(f"{when}-{load:g}") for load in loads for when in ("before", "after")]
        return [piece for piece in found if piece is not None]

    def measure(self, loads: Sequence[float], traffic: Traffic, capacity_per_s: Capacity, seconds: float) -> None:
        """Measure what is missing; the capacity is asked for when the first bursts are there."""
        missing = [load for load in loads if self.piece(f"after-{load:g}") is None]
        if not missing:
            return
        log = self.folder / f"{self.name.replace('/', '-')}.log"
        tell(f"{self.name}: starting vLLM")
        scheduler = LOGGED if self.name == OWN else LOGGED_HOSTED
        with serving(self.setup, scheduler, log, self._flags()) as server:
            for load in missing:
                self._one(server, log, load, traffic, capacity_per_s, seconds)

    def _one(
        self, server: Server, log: Path, load: float, traffic: Traffic, capacity_per_s: Capacity, seconds: float
    ) -> None:
        self._calibrate(server, log, "before", load)
        rate_per_s = load * capacity_per_s()
        plan = planned(f"{self.name}-{load:g}-{self.seed}", traffic.run(load, rate_per_s, seconds))
        tell(f"{self.name}: {len(plan)} requests at {rate_per_s:.2f}/s, {load:.0%} of capacity")
        self._keep(f"load-{load:g}", log, *asyncio.run(_send(server, plan)), rate_per_s)
        self._calibrate(server, log, "after", load)

    def _calibrate(self, server: Server, log: Path, when: str, load: float) -> None:
        tell(f"{self.name}: calibrating {when} {load:.0%}")
        seed = 10_000 * self.seed + round(100 * load) + (5_000 if when == "after" else 0)
        self._keep(f"{when}-{load:g}", log, *asyncio.run(_bursts(server, log, self.calibrate_s, seed)))

    def _keep(self, what: str, log: Path, answers: list[Answer], noise: float, rate_per_s: float = 0.0) -> None:
        time.sleep(WRITTEN_S)
        answers = sorted(answers, key=lambda answer: answer.sent_s)
        piece = Piece(read_log(log).of(answers), answers, rate_per_s, noise)
        self.file(what).write_bytes(msgspec.json.encode(piece))

    def _flags(self) -> list[str]:
        if self.name == OWN:
            return []
        told = {"headway": {"policy": self.name, "policy_params": self.params}}
        return ["--additional-config", msgspec.json.encode(told).decode()]


def planned(name: str, table: RequestTable) -> list[Planned]:
    """Return a plan; the name goes into the prompts, so that no two are alike."""
    rows = zip(table.arrival_s - table.arrival_s[0], table.prompt_tokens, table.output_tokens, strict=True)
    return [
        Planned(id=f"{name}-{row}", at_s=float(at_s), input_tokens=int(prompt), output_tokens=int(output))
        for row, (at_s, prompt, output) in enumerate(rows)
    ]


async def _bursts(server: Server, log: Path, seconds: float, seed: int) -> tuple[list[Answer], float]:
    facts, noise, answers = read_log(log).facts, Noise(server), list[Answer]()
    kv_tokens = facts["num_blocks"] * facts["block_size"]
    bursts = _rounds(Design(facts["context_tokens"], kv_tokens, facts["max_seqs"], BUDGET_TOKENS, seed))
    asker = await Asker.of(server.url)
    while not answers or len(read_log(log).of(answers).lines) < FEWEST_STEPS:
        answers += await asker.ask_for(bursts, seconds, lambda _: None)
        await asyncio.sleep(WRITTEN_S)
    await asker.close()
    return answers, noise.others_busy_frac()


def _rounds(design: Design) -> Iterator[list[Planned]]:
    while True:
        yield from design.round()


async def _send(server: Server, plan: list[Planned]) -> tuple[list[Answer], float]:
    asker, noise = await Asker.of(server.url), Noise(server)
    answers = await asker.ask(plan)
    await asker.close()
    return answers, noise.others_busy_frac()
