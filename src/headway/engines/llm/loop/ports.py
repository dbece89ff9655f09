"""What the engine loop needs from its surroundings, as protocols: a model runner, a line to the API process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from headway.core.nouns import Id, Seconds
from headway.engines.llm.messages import Message, ToEngine
from headway.engines.llm.model.rows import Columns
from headway.engines.llm.model.slots import Ints
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec
from headway.policies.serving.nouns import TuneJob, TuneUnit

if TYPE_CHECKING:
    from torch import Tensor


class ModelRunner(Protocol):
    """Runs steps on a model; `headway.engines.llm.model.runner.Runner` is one."""

    def open(self, prompt: list[int], adapter: str) -> int:
        """Take a slot for a sequence that begins with `prompt`."""

    def append(self, slots: Sequence[int] | Ints, tokens: Sequence[int] | Ints) -> None:
        """Add one token to each of some different slots."""

    def set_blocks(self, slot: int, blocks: list[int], first: int = 0) -> None:
        """Say which KV blocks the slot's positions live in; those before `first` are as they were."""

    def close(self, slot: int) -> None:
        """Give the slot back."""

    def run(self, rows: Columns) -> Tensor | None:
        """Compute one step; returns float32 logits `[sampled, vocab]`, or None when no row samples."""


class Loaded(Protocol):
    """A fine-tuning run that is loaded."""

    def job(self, arrival_s: Seconds) -> TuneJob:
        """Return what a scheduler may know of it."""

    def run(self, unit: TuneUnit) -> None:
        """Compute its next unit; raises when it can go on no more."""

    def drop(self) -> None:
        """Forget what a microbatch under way has come to."""

    def news(self) -> list[TuneNews]:
        """Take out what has happened since."""

    def save(self) -> None:
        """See to it that its latest step is on the disk."""

    def finish(self) -> str:
        """Write the finished adapter, and return its folder."""


class Trainers(Protocol):
    """What trains beside a model that is served."""

    def load(self, spec: TuneSpec) -> Loaded:
        """Load a run; called in a thread of its own."""

    def lend(self, blocks: Sequence[int]) -> None:
        """Say which KV blocks are theirs now."""

    def adopt(self, name: str, folder: str) -> None:
        """Serve an adapter from now on."""


class Line(Protocol):
    """The engine's end of the line to the API process; `headway.engines.llm.wire.Wire` is one."""

    @property
    def closed(self) -> bool:
        """Whether the other end is gone."""

    def ready(self) -> list[ToEngine]:
        """Return the messages that are here now, without waiting."""

    async def receive(self) -> list[ToEngine]:
        """Wait for messages; an empty list says that the other end is gone."""

    def send(self, message: Message) -> None:
        """Send one message without waiting."""


class Facts(Protocol):
    """What is known of a loaded model; `headway.engines.llm.model.runner.Facts` is one."""

    @property
    def name(self) -> str:
        """The name it is served under."""

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus output."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""

    @property
    def eos_ids(self) -> Sequence[int]:
        """Tokens that end an output."""

    @property
    def num_layers(self) -> int:
        """Decoder layers."""

    @property
    def dtype(self) -> str:
        """What it computes in."""

    @property
    def device(self) -> str:
        """Where it computes."""

    @property
    def kernels(self) -> str:
        """With which kernels."""

    @property
    def quantize(self) -> str:
        """On what kind of weights."""

    @property
    def adapters(self) -> Sequence[Id]:
        """Names of the LoRA adapters."""
