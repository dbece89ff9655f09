"""What trains beside a served model: `Trainer`s whose activations live in its KV memory, and adapters it takes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from msgspec.structs import replace

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec
from headway.policies.serving.nouns import TuneJob, TuneUnit

if TYPE_CHECKING:
    from torch import Tensor

    from headway.engines.tuning.lent import LentMemory
    from headway.engines.tuning.trainer import Trainer


class Adopting(Protocol):
    """A model that can take over adapters while it is served; `headway.engines.llm.model.runner.Runner` is one."""

    @property
    def kv_sides(self) -> list[Tensor]:
        """Its KV memory as bytes, uint8 `[num_blocks, bytes]` per layer, keys and values apart."""

    def adopt(self, name: str, folder: str) -> None:
        """Serve one more adapter."""


class Trainers:
    """Loads fine-tuning runs of the model that is served.

    Parameters
    ----------
    model : str
        Folder or hub id of that model.
    runner : Adopting
        The model.
    adopted : callable
        Called after it has taken over an adapter.
    """

    def __init__(self, model: str, runner: Adopting, adopted: Callable[[], None]) -> None:
        self._model = model
        self._runner = runner
        self._adopted = adopted
        self._memories: WeakSet[LentMemory] = WeakSet()  # a run that has ended takes its own along

    def load(self, spec: TuneSpec) -> Run:
        """Load a run, beside serving: with one thread, in a thread of its own.

        Raises
        ------
        ConfigError, TuneError
            When it cannot be trained here.
        """
        import torch

        from headway.engines.tuning.lent import LentMemory
        from headway.engines.tuning.trainer import Trainer

        if spec.model != self._model:
            raise ConfigError(f"tune {spec.name}: model must be the one served ({self._model}), got {spec.model}.")
        torch.set_num_threads(1)
        sides = self._runner.kv_sides
        memory = LentMemory(sides)
        spec = replace(spec, device=sides[0].device.type)  # where its activations live
        run = Run(Trainer(spec, memory), memory)
        self._memories.add(memory)
        return run

    def lend(self, blocks: Sequence[int]) -> None:
        """Say which KV blocks are theirs now; what lies there stays where blocks are only added."""
        for memory in list(self._memories):
            if len(blocks) < memory.num_lent:
                memory.take_back()
            memory.lend(blocks[memory.num_lent :])

    def adopt(self, name: str, folder: str) -> None:
        """Serve an adapter from now on.

        Raises
        ------
        ConfigError
            When it cannot be read, does not fit the model, or another has its name.
        """
        self._runner.adopt(name, folder)
        self._adopted()


class Run:
    """A run that is loaded.

    Parameters
    ----------
    trainer : Trainer
        Computes its units.
    memory : LentMemory
        Where its activations live.
    """

    def __init__(self, trainer: Trainer, memory: LentMemory) -> None:
        self._trainer = trainer
        self._num_blocks = memory.blocks_for(trainer.saved_bytes)

    def job(self, arrival_s: Seconds) -> TuneJob:
        """Return what a scheduler may know of it."""
        trainer = self._trainer
        return TuneJob(
            id=trainer.spec.job,
            arrival_s=arrival_s,
            num_layers=trainer.num_layers,
            microbatches=trainer.plan,
            kv_blocks=self._num_blocks,
            first=trainer.position,
        )

    def run(self, unit: TuneUnit) -> None:
        """Compute its next unit."""
        self._trainer.run(unit)

    def drop(self) -> None:
        """Forget what a microbatch under way has come to."""
        self._trainer.drop()

    def news(self) -> list[TuneNews]:
        """Take out what has happened since."""
        found: list[TuneNews] = self._trainer.news()
        return found

    def save(self) -> None:
        """See to it that its latest step is on the disk."""
        self._trainer.checkpoint()

    def finish(self) -> str:
        """Write the finished adapter, and return its folder."""
        return str(self._trainer.finish())
