"""The engine as a real process on a tiny checkpoint, spoken to over its socket as the API process does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from engines.llm.loop.fakes import submit
from engines.llm.model.models import save_model
from headway.core.trace import read_header, read_trace
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import (
    Cancel,
    Drain,
    Fatal,
    FromEngine,
    Gauges,
    Loading,
    Message,
    Output,
    Outputs,
    Ready,
    Submit,
)
from headway.engines.llm.wire import Wire
from headway.policies.serving.nouns import RequestFinished, Step

LIMIT_S = 120.0
"""Importing torch takes many seconds on a busy machine; nothing here waits for time to pass."""


class Peer:
    """An API process in miniature."""

    def __init__(self, config: EngineConfig) -> None:
        here, there = socket.socketpair()
        with there:
            command = [sys.executable, "-m", "headway.engines.llm.process", str(there.fileno())]
            self.process = subprocess.Popen(
                [*command, msgspec.json.encode(config).decode()],
                pass_fds=(there.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        self.wire = Wire.of_api(here)
        self.heard: list[FromEngine] = []
        self.outputs: dict[str, list[Output]] = {}

    async def listen(self) -> bool:
        """Take in what has come; False at the end."""
        messages = await self.wire.receive()
        for message in messages:
            self.heard.append(message)
            if isinstance(message, Outputs):
                plain = [Output(id=i, tokens=[t]) for i, t in zip(message.ids, message.tokens, strict=True)]
                for item in message.items + plain:
                    self.outputs.setdefault(item.id, []).append(item)
        return bool(messages)

    async def until(self, kind: type[Message]) -> Any:
        while not (found := [message for message in self.heard if isinstance(message, kind)]):
            assert await self.listen(), self.stderr()
        return found[0]

    async def ended(self, *names: str) -> None:
        while not all(self.outputs.get(name, [Output(id="")])[-1].finish for name in names):
            assert await self.listen(), self.stderr()

    async def until_gone(self) -> int:
        while await self.listen():
            pass
        return await asyncio.to_thread(self.process.wait)

    def told(self, name: str) -> tuple[list[int], str]:
        items = self.outputs[name]
        return [token for item in items for token in item.tokens], items[-1].finish

    def stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def clean_up(self) -> None:
        self.wire.close()
        self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


@contextlib.asynccontextmanager
async def engine(config: EngineConfig) -> AsyncIterator[Peer]:
    peer = Peer(config)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield peer
    finally:
        peer.clean_up()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("llama")
    save_model("llama", path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder)


def tiny(folder: Path, **changes: Any) -> EngineConfig:
    return EngineConfig(model=str(folder), dtype="float32", native=False, kv_bytes=1 << 20, max_seqs=8, **changes)


def generated(model: Any, request: Submit) -> list[int]:
    """The same tokens by `transformers` itself."""
    import torch

    out = model.generate(
        torch.tensor([request.prompt]), max_new_tokens=request.sampling.max_tokens, do_sample=False, eos_token_id=[999]
    )
    return [int(token) for token in out[0, len(request.prompt) :]]


def test_a_life_submit_stream_cancel_drain(folder: Path, model: Any, tmp_path: Path) -> None:
    async def live() -> None:
        trace = tmp_path / "trace.jsonl"
        async with engine(tiny(folder, trace=str(trace))) as peer:
            requests = [submit(f"r{n}", range(5, 15 + 9 * n), max_tokens=20, ignore_eos=True) for n in range(4)]
            endless = submit("endless", [7, 8], max_tokens=200, ignore_eos=True)
            for request in [endless, *requests]:
                peer.wire.send(request)
            ready = await peer.until(Ready)
            assert (ready.num_layers, ready.vocab_size, ready.dtype, ready.pid) == (3, 300, "float32", peer.process.pid)
            assert isinstance(peer.heard[0], Loading)
            while "endless" not in peer.outputs:
                assert await peer.listen()
            peer.wire.send(Cancel(id="endless"))
            await peer.ended("endless", "r0", "r1", "r2", "r3")
            assert peer.told("endless")[1] in ("cancelled", "length")
            for request in requests:
                assert peer.told(request.id) == (generated(model, request), "length")
            peer.wire.send(Drain())
            assert await peer.until_gone() == 0
            gauges = [message for message in peer.heard if isinstance(message, Gauges)]
            assert gauges[-1].kv_used_frac == 0
            assert (gauges[-1].running, gauges[-1].waiting) == (0, 0)
            assert gauges[-1].num_steps >= 20
            assert peer.stderr() == ""
        assert read_header(trace).family == "serving"
        records = list(read_trace(trace))
        assert sum(isinstance(record, RequestFinished) for record in records) == 5
        assert any(isinstance(record, Step) for record in records)

    asyncio.run(live())


@pytest.mark.slow
def test_sigterm_drains_and_ctrl_c_is_not_for_the_engine(folder: Path) -> None:
    async def live() -> None:
        async with engine(tiny(folder)) as peer:
            await peer.until(Ready)
            peer.wire.send(submit("a", [5, 6], max_tokens=30, ignore_eos=True))
            while "a" not in peer.outputs:
                assert await peer.listen()
            peer.process.send_signal(signal.SIGINT)
            peer.process.send_signal(signal.SIGTERM)
            assert await peer.until_gone() == 0
            assert len(peer.told("a")[0]) == 30

    asyncio.run(live())


def test_a_killed_engine_is_an_end_of_the_line(folder: Path) -> None:
    async def live() -> None:
        async with engine(tiny(folder)) as peer:
            await peer.until(Ready)
            for number in range(8):
                peer.wire.send(submit(f"r{number}", [5, 6], max_tokens=200, ignore_eos=True))
            while not peer.outputs:
                assert await peer.listen()
            peer.process.kill()
            assert await peer.until_gone() == -signal.SIGKILL

    asyncio.run(live())


def test_an_engine_whose_api_process_is_gone_ends(folder: Path) -> None:
    async def live() -> None:
        async with engine(tiny(folder)) as peer:
            await peer.until(Ready)
            peer.wire.send(submit("a", [5, 6], max_tokens=200, ignore_eos=True))
            while not peer.outputs:
                assert await peer.listen()
            peer.wire.close()
            assert await asyncio.to_thread(peer.process.wait) == 0

    asyncio.run(live())


def test_an_engine_ends_even_while_it_loads() -> None:
    """The other side goes away at once; importing and loading must not keep the process alive."""

    async def live() -> None:
        async with engine(EngineConfig(model="no/such-model-anywhere")) as peer:
            child = psutil.Process(peer.process.pid)
            peer.wire.close()
            await asyncio.to_thread(child.wait)

    asyncio.run(live())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "/no/such/folder"}, "/no/such/folder"),
        ({"policy": "serving/nonsense"}, "serving/nonsense"),
        ({"policy_params": {"token_budget": 0}}, "token_budget must be >= 1"),
        pytest.param({"context_tokens": 100_000}, "100000", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_work_is_fatal_in_one_sentence(folder: Path, changes: dict[str, Any], why: str) -> None:
    async def live() -> None:
        async with engine(msgspec.structs.replace(tiny(folder), **changes)) as peer:
            assert await peer.until_gone() == 1
            fatal = peer.heard[-1]
            assert isinstance(fatal, Fatal)
            assert why in fatal.why
            assert "\n" not in fatal.why
            assert peer.stderr() == ""

    asyncio.run(live())
