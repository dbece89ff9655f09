"""Checkpoints of a run: written beside the training, whole or not at all, the last two of them kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from headway.core.errors import TuneError
from headway.core.writing import replacing
from headway.engines.tuning.folder import telling_disk_trouble, write_folder

if TYPE_CHECKING:
    from torch import Tensor

NUM_KEPT = 2
"""How many checkpoints stay: one, and the one before in case it is lost."""

ADAPTER, _STATE, _OPTIMIZER = "adapter", "state.json", "optimizer.safetensors"
_NAME = re.compile(r"step-(\d+)")


class Standing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a run has come.

    Parameters
    ----------
    step : int
        Steps made.
    position : int
        The first microbatch that is not done.
    tokens : int
        Tokens trained on.
    valid_loss : float or None
        Of the last validation.
    valid_step : int
        After which step that was; -1 for none.
    """

    step: int = 0
    position: int = 0
    tokens: int = 0
    valid_loss: float | None = None
    valid_step: int = -1


class Checkpoints:
    """The checkpoints in one folder.

    Parameters
    ----------
    folder : Path
        Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[tuple[Standing, Path]] | None = None

    def latest(self) -> tuple[Standing, Path] | None:
        """Return the last one, or None."""
        for path in reversed(self._all()):
            try:
                return msgspec.json.decode((path / _STATE).read_bytes(), type=Standing), path
            except (OSError, msgspec.DecodeError):
                continue
        return None

    def write(self, standing: Standing, optimizer: dict[str, Tensor], adapter: Callable[[Path], None]) -> None:
        """Begin to write one; an earlier one must have been taken.

        Parameters
        ----------
        standing : Standing
            How far the run has come.
        optimizer : dict of str to Tensor
            What the optimizer knows; it must stay as it is.
        adapter : callable
            Writes the adapter into the folder that it is given.
        """
        self._writing = self._thread.submit(self._write, standing, optimizer, adapter)

    def amend(self, standing: Standing) -> None:
        """Note in the checkpoint of a step, which must have been taken, that the run has come further since."""
        path = self._folder / _name(standing.step)
        with telling_disk_trouble(self._folder), replacing(path / _STATE) as beside:
            beside.write_bytes(msgspec.json.encode(standing))

    def take(self, wait: bool = False) -> tuple[Standing, Path] | None:
        """Return what was written since, if anything.

        Parameters
        ----------
        wait : bool
            Whether to wait for one that is being written.

        Raises
        ------
        TuneError
            When it could not be written; the one before is still there.
        """
        if self._writing is None or not (wait or self._writing.done()):
            return None
        writing, self._writing = self._writing, None
        return writing.result()

    @staticmethod
    def optimizer_of(path: Path) -> dict[str, Tensor]:
        """Return what the optimizer knew at a checkpoint."""
        from safetensors.torch import load_file

        return load_file(path / _OPTIMIZER)

    @staticmethod
    def adapter_of(path: Path) -> dict[str, Tensor]:
        """Return the weights of the adapter at a checkpoint."""
        from safetensors.torch import load_file

        return load_file(path / ADAPTER / "adapter_model.safetensors")

    def _write(
        self, standing: Standing, optimizer: dict[str, Tensor], adapter: Callable[[Path], None]
    ) -> tuple[Standing, Path]:
        from safetensors.torch import save_file

        def fill(path: Path) -> None:
            (path / ADAPTER).mkdir()
            adapter(path / ADAPTER)
            save_file(optimizer, path / _OPTIMIZER)
            (path / _STATE).write_bytes(msgspec.json.encode(standing))

        path = self._folder / _name(standing.step)
        with telling_disk_trouble(self._folder):
            try:
                write_folder(path, fill)
            except OSError:
                raise
            except Exception as error:  # safetensors has its own name for a full disk
                raise TuneError(f"tune: a checkpoint must be written to {path}, got: {error}. Make room.") from error
            for old in self._all()[:-NUM_KEPT]:
                shutil.rmtree(old)
        return standing, path

    def _all(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))


def _name(step: int) -> str:
    return f"step-{step:08d}"
