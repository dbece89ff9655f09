"""An engine process without a model, for tests and benchmarks of the server: it repeats the prompt, one token per step.

Started like the real one, ``python fake_engine.py FD CONFIG``. `policy_params` of the configuration set its manners:

- ``step_s``: how long a step takes (0); ``load_s``: how long loading takes (0).
- ``fatal``: fail to load, with these words.
- ``prefill_s``: how long the first token of a request takes (0).
- ``spin``: burn processor time during steps instead of sleeping.

A request's `tenant` can ask for trouble: ``"reject"``, ``"error"``, ``"die"``. What it is told is appended to the file
`trace` of the configuration, one JSON object per line.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from headway.core.slo import SloRow
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import (
    Cancel,
    Drain,
    Fatal,
    Gauges,
    Loading,
    Output,
    Outputs,
    Ready,
    Submit,
    ToEngine,
    TokenLogprob,
)
from headway.engines.llm.wire import Wire

CONTEXT_TOKENS = 2048
EOS = 0
NUM_BLOCKS = 1024


class Parrot:
    """One request: where in its prompt the parrot is."""

    def __init__(self, submit: Submit, ready_s: float) -> None:
        self.submit = submit
        self.ready_s = ready_s
        self.given = 0

    def next(self) -> Output:
        """The next token, and the end where it has come."""
        submit, sampling = self.submit, self.submit.sampling
        prompt = submit.prompt
        ends = self.given == len(prompt) and not sampling.ignore_eos and self.given >= sampling.min_tokens
        token = EOS if ends else prompt[self.given % len(prompt)]
        self.given += 1
        length = self.given >= min(sampling.max_tokens, CONTEXT_TOKENS - len(prompt))
        finish = "stop" if ends or token in sampling.stop_token_ids else "length" if length else ""
        scores = [] if sampling.logprobs is None else [_score(token, sampling.logprobs)]
        return Output(
            id=submit.id,
            tokens=[token],
            logprobs=scores,
            finish=finish,
            cached_tokens=len(prompt) // 16 * 16 if self.given == 1 else 0,
            queue_s=0.25 if self.given == 1 else 0.0,
        )


class FakeEngine:
    """Takes requests from the wire and gives every one a token per step."""

    def __init__(self, wire: Wire[ToEngine], config: EngineConfig) -> None:
        self.wire = wire
        self.config = config
        self.manners: dict[str, Any] = config.policy_params
        self.lives: dict[str, Parrot] = {}
        self.draining = False
        self.num_steps = 0
        self.told = Path(config.trace).open("ab") if config.trace else None  # noqa: SIM115

    async def run(self) -> int:
        """Serve until drained or hung up on."""
        self.wire.send(Loading(what="reading nothing"))
        await asyncio.sleep(self.manners.get("load_s", 0))
        if fatal := self.manners.get("fatal"):
            self.wire.send(Fatal(why=fatal))
            await self.wire.flush()
            return 1
        self.wire.send(self._facts())
        while not (self.draining and not self.lives):
            messages = self.wire.ready() if self.busy else await self.wire.receive()
            if self.wire.closed:
                return 0
            for message in messages:
                self._take(message)
            await self._step()
        await self.wire.flush()
        return 0

    @property
    def busy(self) -> bool:
        """Whether there is something to do without being told anything."""
        return bool(self.lives)

    def _facts(self) -> Ready:
        config = self.config
        return Ready(
            model=config.name or "parrot",
            context_tokens=CONTEXT_TOKENS,
            vocab_size=self.manners.get("vocab_size", 500),
            eos_ids=(EOS,),
            block_size=config.block_size,
            num_blocks=NUM_BLOCKS,
            num_layers=1,
            dtype="none",
            device="none",
            kernels="none",
            quantize="none",
            policy=config.policy,
            adapters=tuple(config.adapters),
            slo_classes=tuple(slo_class.name for slo_class in config.slo_classes),
            pid=os.getpid(),
        )

    def _take(self, message: ToEngine) -> None:
        if self.told:
            self.told.write(msgspec.json.encode(message) + b"\n")
            self.told.flush()
        if isinstance(message, Drain):
            self.draining = True
        elif isinstance(message, Cancel):
            self.lives.pop(message.id, None)
            self._report()
        elif message.tenant == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif message.tenant in ("reject", "error"):
            finish = {"reject": "rejected", "error": "error"}[message.tenant]
            self.wire.send(Outputs(items=[Output(id=message.id, finish=finish, why="As you asked.")]))
        elif message.tenant == "shed":
            self.wire.send(Outputs(items=[Output(id=message.id, finish="rejected", why="too much", retry_after_s=2.5)]))
        else:
            self.lives[message.id] = Parrot(message, time.monotonic() + self.manners.get("prefill_s", 0))

    async def _step(self) -> None:
        if not self.lives:
            return
        await self._pass_time(self.manners.get("step_s", 0))
        now_s = time.monotonic()
        items = [parrot.next() for parrot in self.lives.values() if parrot.ready_s <= now_s]
        for item in items:
            if item.finish:
                del self.lives[item.id]
        if items:
            self.num_steps += 1
            self.wire.send(Outputs(items=items))
        if not self.lives or self.num_steps % 50 == 0:
            self._report()

    async def _pass_time(self, step_s: float) -> None:
        if not self.manners.get("spin"):
            await asyncio.sleep(step_s)
            return
        end_s = time.perf_counter() + step_s
        while time.perf_counter() < end_s:
            pass
        await asyncio.sleep(0)

    def _report(self) -> None:
        self.wire.send(
            Gauges(
                running=len(self.lives),
                waiting=0,
                kv_used_frac=len(self.lives) / NUM_BLOCKS,
                kv_free_blocks=NUM_BLOCKS - len(self.lives),
                prefix_queried_tokens=100,
                prefix_hit_tokens=40,
                num_steps=self.num_steps,
                step_s=0.001,
                num_preempted=3,
                num_refused=0,
                decide_s={"mean": 1e-5, "p99": 2e-5},
                slos=[SloRow(slo_class="interactive", metric="ttft_s", bound=1.0, quantile=0.95, met=5, missed=1)],
            )
        )


def _score(token: int, count: int) -> TokenLogprob:
    return TokenLogprob(token, -0.5, [(token + rank, -0.5 - rank) for rank in range(count)])


async def main() -> int:
    """Talk over the socket named on the command line."""
    config = msgspec.json.decode(sys.argv[2], type=EngineConfig)
    wire = Wire.of_engine(socket.socket(fileno=int(sys.argv[1])))
    with contextlib.suppress(ConnectionError):
        return await FakeEngine(wire, config).run()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
