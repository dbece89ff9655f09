"""A calibration from beginning to end: serve, ask, record, fit."""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from msgspec import Struct

from headway.app.bench.answer import Answer
from headway.app.bench.load import Planned
from headway.app.calibrate.asking import Asker
from headway.app.calibrate.design import Design
from headway.app.calibrate.fit import fit
from headway.app.calibrate.overheads import overheads
from headway.app.calibrate.recording import Recording, read_recording
from headway.app.calibrate.server import Server, serving
from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.sim.serving.cost.fitted import Calibration

OnProgress = Callable[[Seconds], None]
"""Told how many seconds have been measured."""
BUDGET_TOKENS = 1024
POLICY = ("--policy", "serving/sarathi", "--policy-param", f"token_budget={BUDGET_TOKENS}")
"""Who schedules unless somebody else is asked for: it mixes chunks of many lengths with decodes."""
MAX_SEQS = 64
"""The largest batch asked for; an engine that takes fewer at once keeps the others waiting."""
NEEDED = ("num_layers", "num_blocks", "block_size")


class Order(Struct, frozen=True, kw_only=True):
    """What is to be calibrated, and for how long.

    Parameters
    ----------
    flags : tuple of str
        As for ``headway serve``, the model first.
    threads : int
        Of the engine's arithmetic, >= 1; 0 leaves it to the machine.
    measure_s : float
        How long requests are sent, in seconds, > 0.
    seed : int
        Of the lengths of requests.
    """

    flags: tuple[str, ...]
    threads: int = 0
    measure_s: Seconds = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.measure_s > 0:
            raise ConfigError(f"calibrate: --minutes must be > 0, got {self.measure_s / 60:g}. Try 1.")
        if self.threads < 0:
            raise ConfigError(f"calibrate: --threads must be >= 1, got {self.threads}.")


def calibrate(order: Order, on_progress: OnProgress | None = None) -> Calibration:
    """Measure a server of one's own.

    Parameters
    ----------
    order : Order
        What, and for how long.
    on_progress : callable or None
        Told of progress.

    Raises
    ------
    EngineError
        When it does not start or does not answer.
    ConfigError
        When too few steps could be measured.
    """
    recording, answers = measure(order, on_progress)
    return calibration_of(recording, answers, threads=order.threads)


def measure(order: Order, on_progress: OnProgress | None = None) -> tuple[Recording, list[Answer]]:
    """Ask a server of one's own; returns what it recorded and what its client saw. Raises as `calibrate` does."""
    policy = () if "--policy" in order.flags else POLICY
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.jsonl"
        with serving([*order.flags, *policy], path, order.threads) as server:
            answers = asyncio.run(_ask(server, order, on_progress or _nobody))
        return read_recording(path), answers


def calibration_of(recording: Recording, answers: Sequence[Answer] = (), threads: int = 0) -> Calibration:
    """Fit what was recorded.

    Parameters
    ----------
    recording : Recording
        Of a live engine.
    answers : sequence of Answer
        The same requests as their client saw them, for the overheads.
    threads : int
        Of the engine's arithmetic, 0 where it is not known.

    Raises
    ------
    ConfigError
        When the recording does not say which engine made it, or has too few steps.
    """
    facts = recording.header.facts
    missing = [name for name in NEEDED if not isinstance(facts.get(name), int)]
    if missing:
        raise ConfigError(
            f"calibrate: the recording must be of a live engine and say its {', '.join(missing)}, and it does not. "
            "Record anew with `headway serve --trace FILE`."
        )
    made = fit(recording.steps)
    return Calibration(
        price=made.price,
        num_layers=int(facts["num_layers"]),
        num_kv_tokens=int(facts["num_blocks"]) * int(facts["block_size"]),
        block_size=int(facts["block_size"]),
        max_seqs=int(facts.get("max_seqs", 0)),
        model=str(facts.get("model", "")),
        engine=", ".join(str(facts[name]) for name in ("dtype", "device", "kernels", "quantize") if name in facts),
        machine=machine(threads),
        date=datetime.now(UTC).date().isoformat(),
        versions=_versions(),
        errors=made.errors | {"num_unclear": float(recording.num_unclear)},
        overheads=overheads(answers, recording),
    )


def machine(threads: int = 0) -> str:
    """Return which machine this is, in a few words."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    said = f"{os.cpu_count()} x {name or platform.processor() or platform.machine()}"
    return f"{said}, {threads} threads" if threads else said


async def _ask(server: Server, order: Order, on_progress: OnProgress) -> list[Answer]:
    asker = await Asker.of(server.url)
    try:
        return await asker.ask_for(_bursts(server.facts, order.seed), order.measure_s, on_progress)
    finally:
        await asker.close()


def _bursts(facts: dict[str, Any], seed: int) -> Iterator[list[Planned]]:
    kv_tokens, context = facts["num_blocks"] * facts["block_size"], facts["context_tokens"]
    design = Design(context, kv_tokens, MAX_SEQS, BUDGET_TOKENS, seed)
    while True:
        yield from design.round()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("headway", "torch", "transformers")}


def _nobody(_: Seconds) -> None:
    pass
