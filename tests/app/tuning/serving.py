"""A server with fine-tuning in a thread of the test, with the fake engine and, unless told otherwise, a fake reader."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob

from app.server.running import Running
from headway.app.server.config import ServerConfig
from headway.app.server.service import Service
from headway.app.tuning.extension import TuningExtension
from headway.app.tuning.folder import StateFolder
from headway.app.tuning.ports import Prepared
from headway.app.tuning.records import JobRecord, Trouble
from headway.engines.llm.config import EngineConfig

ENGINE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))
LINE = json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ahoy"}]}) + "\n"
GOOD = ("pirate.jsonl", (LINE * 20).encode())
WAIT_S = 20.0


class FakeReader:
    """Reads files without a tokenizer; a file named by its first words asks for trouble."""

    def __init__(self, files: Path) -> None:
        self.files = files

    async def faults(self, path: Path) -> list[str]:
        lines = path.read_text().splitlines()
        if not lines:
            return ["The file must hold examples, got none."]
        return [f"line {number}: must be JSON" for number, line in enumerate(lines, 1) if not line.startswith("{")]

    async def prepare(self, job: JobRecord, folder: Path) -> Prepared:
        text = (self.files / job.training_file).read_text()
        if "too long" in text:
            return Prepared(trouble=Trouble("invalid_training_file", "Line 1 is too long.", "training_file"))
        if "defect" in text:
            raise ZeroDivisionError
        if "forever" in text:
            await asyncio.sleep(1000)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train").write_text(text)
        valid = str(folder / "valid") if job.validation_file else ""
        return Prepared(
            tokens=str(folder / "train"), valid_tokens=valid, counts={"examples": len(text.splitlines()), "tokens": 99}
        )


def extending(state: Path) -> Callable[[Service], TuningExtension]:
    def extend(service: Service) -> TuningExtension:
        folder = StateFolder(state)
        return TuningExtension(service, folder, FakeReader(folder.files))

    return extend


@contextmanager
def tuning(model: Path, state: Path, manners: dict[str, Any] | None = None, **options: Any) -> Iterator[Running]:
    """Run a server with fine-tuning for the length of a `with` block."""
    told = {"trace": options.pop("trace")} if "trace" in options else {}
    engine = EngineConfig(model=str(model), name="parrot", policy_params=manners or {}, **told)
    options.setdefault("access_log", "")
    config = ServerConfig(engine=engine, port=0, tuning=True, **options)
    server = Running(config, ENGINE, options.get("extend") or extending(state))
    try:
        yield server.start()
    finally:
        server.stop()


@contextmanager
def client_of(server: Running, key: str = "any") -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def upload(ai: openai.OpenAI, name: str = GOOD[0], content: bytes = GOOD[1]) -> str:
    return ai.files.create(file=(name, content), purpose="fine-tune").id


def create(ai: openai.OpenAI, **options: Any) -> FineTuningJob:
    return ai.fine_tuning.jobs.create(
        model="parrot", **{"training_file": options.pop("training_file", None) or upload(ai), **options}
    )


def until(ai: openai.OpenAI, job: str, *statuses: str) -> FineTuningJob:
    """Wait until a job has one of these statuses."""
    end_s = time.monotonic() + WAIT_S
    while (found := ai.fine_tuning.jobs.retrieve(job)).status not in statuses:
        assert time.monotonic() < end_s, found
        assert found.status not in ("failed", "succeeded", "cancelled"), found
        time.sleep(0.02)
    return found


def until_step(ai: openai.OpenAI, job: str, step: int) -> None:
    """Wait until a job has made a step."""
    end_s = time.monotonic() + WAIT_S
    while not any((event.data or {}).get("step", 0) >= step for event in ai.fine_tuning.jobs.list_events(job).data):  # type: ignore[attr-defined]
        assert time.monotonic() < end_s
        time.sleep(0.02)
