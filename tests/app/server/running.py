"""A whole server in a thread of the test, with the fake engine in its own process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from headway.app.server.config import ServerConfig
from headway.app.server.extension import Extension
from headway.app.server.lifecycle import Lifecycle
from headway.app.server.service import Service
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import Ready

FAKE_ENGINE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))

SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no role ' + m.role) }}{% endif %}"
    "<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEXT = ["the cat sat on the mat and the dog ate the cat", "a b c d e f g", "one two three four"] * 4
WAIT_S = 30.0


def make_tokenizer(folder: Path, template: str = TEMPLATE) -> Path:
    """Train a small byte-level tokenizer and save it as a model folder would hold it."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIAL[0])
    if template:
        fast.chat_template = template
    fast.save_pretrained(folder)
    return folder


class Running:
    """A server that runs beside the test."""

    def __init__(
        self,
        config: ServerConfig,
        command: Sequence[str] = FAKE_ENGINE,
        extend: Callable[[Service], Extension] | None = None,
    ) -> None:
        self.config = config
        self.command = command
        self.extend = extend
        self.loading: list[str] = []
        self.life: Lifecycle
        self.failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._listening = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return self.life.url

    def start(self, wait_s: float = WAIT_S) -> Running:
        """Start and wait until it is ready, or for 0 s until it listens."""
        self._thread.start()
        assert self._listening.wait(WAIT_S)
        if wait_s:
            assert self._ready.wait(wait_s)
            if self.failure is not None:
                raise self.failure
        return self

    def stop(self) -> None:
        if self._thread.is_alive():
            self.call(self.life.stop)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def call(self, function: Callable[[], Any]) -> None:
        """Call something in the server's event loop."""
        self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self.failure = error
        finally:
            self._listening.set()
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.life = Lifecycle(
            self.config,
            on_loading=self.loading.append,
            on_ready=self._note_ready,
            command=self.command,
            extend=self.extend,
        )
        self._loop.call_soon(self._listening.set)
        await self.life.run()

    def _note_ready(self, ready: Ready, url: str) -> None:
        assert url == self.life.url
        assert ready.pid == self.life.service.engine.pid
        self._ready.set()


@contextmanager
def running(
    model: Path,
    manners: dict[str, Any] | None = None,
    engine: dict[str, Any] | None = None,
    extend: Callable[[Service], Extension] | None = None,
    **options: Any,
) -> Iterator[Running]:
    """Run a server for the length of a `with` block."""
    engine_config = EngineConfig(model=str(model), name="parrot", policy_params=manners or {}, **(engine or {}))
    options.setdefault("access_log", "")
    server = Running(ServerConfig(engine=engine_config, port=0, **options), extend=extend)
    try:
        yield server.start()
    finally:
        server.stop()


def told(path: Path) -> list[dict[str, Any]]:
    """What the fake engine was told so far."""
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []
