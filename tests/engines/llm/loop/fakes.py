"""A model, a line and a stretch of real time, all made up: what engine tests run on without torch weights.

`FakeRunner` keeps tokens in a paged pool of its own, layer by layer, and takes the next token from what it *reads back*
through the block tables. A wrong block, a stale prefix or a skipped layer therefore changes the output.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from headway.core.clock import WallClock
from headway.core.drivers import serve
from headway.core.policy import Policy
from headway.core.report import Report
from headway.core.session import Session
from headway.engines.llm.loop.engine import CAN, LlmEngine
from headway.engines.llm.loop.hashing import BlockHasher
from headway.engines.llm.loop.intake import Intake
from headway.engines.llm.loop.ports import ModelRunner, Trainers
from headway.engines.llm.loop.stepping import Stepper
from headway.engines.llm.messages import Drain, Message, Output, Outputs, Sampling, Submit, ToEngine
from headway.engines.llm.model.rows import Columns
from headway.engines.llm.sampling.compiling import Compiling
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.state import InstanceState

VOCAB = 97
EOS = 2


class FakeFacts(NamedTuple):
    context_tokens: int = 64
    vocab_size: int = VOCAB
    eos_ids: tuple[int, ...] = (EOS,)
    adapters: tuple[str, ...] = ("blue",)
    num_layers: int = 3


def next_token(history: Sequence[int], adapter: str = "") -> int:
    """The token that follows a history: any function of all of it, never token 0 or 1."""
    mixed = len(adapter)
    for token in history:
        mixed = (mixed * 31 + token + 7) % 1_000_003
    return 2 + mixed % (VOCAB - 2)


def continuation(submit: Submit, context_tokens: int = 64) -> tuple[list[int], str]:
    """What a request is given when it is alone: its tokens, and why it ends."""
    history, sampling = list(submit.prompt), submit.sampling
    limit = min(sampling.max_tokens, context_tokens - len(history))
    out: list[int] = []
    while True:
        out.append(next_token(history, submit.adapter))
        history.append(out[-1])
        if (out[-1] == EOS and not sampling.ignore_eos) or out[-1] in sampling.stop_token_ids:
            return out, "stop"
        if len(out) == limit:
            return out, "length"


class FakeRunner:
    """See the module. Checks what `ModelRunner` asks of its caller on the way."""

    def __init__(self, num_blocks: int, block_size: int = 4, facts: FakeFacts | None = None) -> None:
        self.facts = facts or FakeFacts()
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.pool = np.full((self.facts.num_layers, num_blocks, block_size), -1, np.int64)
        self.tokens: dict[int, list[int]] = {}
        self.adapters: dict[int, str] = {}
        self.blocks: dict[int, list[int]] = {}
        self.fail_next: list[Exception] = []
        self.num_steps = 0
        self._next_slot = 0

    def open(self, prompt: list[int], adapter: str) -> int:
        slot, self._next_slot = self._next_slot, self._next_slot + 1
        self.tokens[slot], self.adapters[slot], self.blocks[slot] = list(prompt), adapter, []
        return slot

    def append(
        self, slots: Sequence[int] | npt.NDArray[np.int64], tokens: Sequence[int] | npt.NDArray[np.int64]
    ) -> None:
        assert len(set(slots)) == len(slots) == len(tokens)
        for slot, token in zip(slots, tokens, strict=True):
            self.tokens[int(slot)].append(int(token))

    def set_blocks(self, slot: int, blocks: list[int], first: int = 0) -> None:
        self.blocks[slot][first:] = blocks[first:]

    def close(self, slot: int) -> None:
        del self.tokens[slot], self.adapters[slot], self.blocks[slot]

    def run(self, rows: Columns) -> torch.Tensor | None:
        self.num_steps += 1
        if self.fail_next:
            raise self.fail_next.pop()
        num = len(rows.slots)
        sample = rows.sample if rows.sample is not None else [True] * num
        layers = rows.layers if rows.layers is not None else [None] * num
        logits = []
        for slot, start, count, sampled, span in zip(rows.slots, rows.starts, rows.tokens, sample, layers, strict=True):
            self._write(int(slot), int(start), int(count), span or (0, self.facts.num_layers))
            if sampled:
                logits.append(self._logits(int(slot), int(start + count)))
        return torch.stack(logits) if logits else None

    def _write(self, slot: int, start: int, count: int, span: tuple[int, int]) -> None:
        for position in range(start, start + count):
            block, offset = self.blocks[slot][position // self.block_size], position % self.block_size
            for layer in range(*span):
                if layer:
                    assert self.pool[layer - 1, block, offset] == self.tokens[slot][position], "a layer was skipped"
                self.pool[layer, block, offset] = self.tokens[slot][position]

    def _logits(self, slot: int, length: int) -> torch.Tensor:
        assert length == len(self.tokens[slot]), "logits are wanted of a token that is not the last"
        history = [
            int(self.pool[-1, self.blocks[slot][p // self.block_size], p % self.block_size]) for p in range(length)
        ]
        logits = torch.zeros(VOCAB)
        logits[next_token(history, self.adapters[slot])] = 10.0
        return logits


class FakeLine:
    """An API process that hands in messages when the engine has run a number of steps, and keeps what it is told."""

    def __init__(self) -> None:
        self.closed = False
        self.news: list[Message] = []
        self._inbox: deque[ToEngine] = deque()
        self._here = asyncio.Event()

    def give(self, *messages: ToEngine) -> None:
        self._inbox += messages
        self._here.set()

    def hang_up(self) -> None:
        self.closed = True
        self._here.set()

    def ready(self) -> list[ToEngine]:
        messages = list(self._inbox)
        self._inbox.clear()
        self._here.clear()
        return messages

    async def receive(self) -> list[ToEngine]:
        while not self._inbox and not self.closed:
            await self._here.wait()
        return self.ready()

    def send(self, message: Message) -> None:
        self.news.append(message)

    def outputs(self) -> dict[str, list[Output]]:
        found: dict[str, list[Output]] = {}
        for message in self.news:
            if isinstance(message, Outputs):
                plain = [Output(id=i, tokens=[t]) for i, t in zip(message.ids, message.tokens, strict=True)]
                for item in message.items + plain:
                    found.setdefault(item.id, []).append(item)
        return found

    def told(self, request: str) -> tuple[list[int], str]:
        """Tokens and end of one request; checks that it ended once, and last."""
        items = self.outputs()[request]
        assert [bool(item.finish) for item in items] == [False] * (len(items) - 1) + [True]
        return [token for item in items for token in item.tokens], items[-1].finish


class Script(FakeRunner):
    """A fake runner that hands in messages before its n-th step, as an API process at work would."""

    def __init__(self, line: FakeLine, num_blocks: int, block_size: int = 4, facts: FakeFacts | None = None) -> None:
        super().__init__(num_blocks, block_size, facts)
        self.line = line
        self.due: dict[int, list[ToEngine]] = {}
        self.loop: asyncio.AbstractEventLoop | None = None

    def run(self, rows: Columns) -> torch.Tensor | None:
        if threading.current_thread() is threading.main_thread():
            self._deliver(self.num_steps)
        else:  # a lane's own thread
            assert self.loop is not None
            self.loop.call_soon_threadsafe(self._deliver, self.num_steps)
        return super().run(rows)

    def _deliver(self, step: int) -> None:
        if step in self.due:
            self.line.give(*self.due.pop(step))


class Bench:
    """An engine with everything around it."""

    def __init__(
        self,
        runner: ModelRunner,
        line: FakeLine,
        facts: FakeFacts,
        num_blocks: int,
        block_size: int,
        max_running: int = 8,
        caching: bool = True,
        compiling: Compiling | None = None,
        trainers: Trainers | None = None,
    ) -> None:
        clock = WallClock()
        self.line = line
        self.kv = BlockPool(num_blocks, block_size, caching)
        self.board = ServingBoard([InstanceState("engine", self.kv, facts.num_layers, max_running)], CAN)
        hasher = BlockHasher(block_size) if caching else None
        self.stepper = Stepper(runner, self.board, clock, facts.num_layers, hasher)
        intake = Intake(facts, num_blocks * block_size, hasher)
        self.engine = LlmEngine(self.board, self.stepper, intake, line, clock, compiling, trainers)
        self.accounts = RequestAccounts()

    async def serve(self, policy: Policy[ServingBoard]) -> Report:
        session = Session(policy, self.board, accounts=self.accounts)
        return await serve(self.engine, policy, session=session)

    def check_empty(self) -> None:
        """Nothing is left behind."""
        assert not self.stepper.lives
        assert not self.board.requests
        assert self.kv.num_free == self.kv.num_blocks
        assert self.accounts.num_open == 0


def submit(name: str, prompt: Iterable[int], adapter: str = "", **sampling: object) -> Submit:
    asked = {"temperature": 0.0, **sampling}
    return Submit(id=name, prompt=list(prompt), sampling=Sampling(**asked), adapter=adapter)  # type: ignore[arg-type]


def run_script(
    policy: Policy[ServingBoard],
    messages: dict[int, list[ToEngine]],
    *,
    num_blocks: int = 64,
    block_size: int = 4,
    max_running: int = 8,
    caching: bool = True,
) -> tuple[Bench, Report]:
    """Serve messages that come before certain steps (0: at the start), then drain."""

    async def play() -> tuple[Bench, Report]:
        line = FakeLine()
        runner = Script(line, num_blocks, block_size)
        runner.loop = asyncio.get_running_loop()
        runner.due = {step: group for step, group in messages.items() if step}
        bench = Bench(runner, line, runner.facts, num_blocks, block_size, max_running, caching)
        line.give(*messages.get(0, []))
        serving = asyncio.ensure_future(bench.serve(policy))
        while runner.due and not serving.done():
            await asyncio.sleep(0)
            if not bench.stepper.lives and runner.due:  # idle before its time has come: hand in the next
                line.give(*runner.due.pop(min(runner.due)))
        line.give(Drain())
        return bench, await serving

    return asyncio.run(asyncio.wait_for(play(), 60))
