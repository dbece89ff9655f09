"""What the service of fine-tuning needs of others."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from msgspec import Struct

from headway.app.tuning.records import JobRecord, Trouble
from headway.engines.tuning.spec import TuneSpec


class Trainer(Protocol):
    """Who trains: the engine, as far as jobs are concerned. It has at most one job at a time."""

    @property
    def ready(self) -> bool:
        """Whether it can be sent something."""

    @property
    def base(self) -> str:
        """The name of the model it trains adapters of; empty until that is known."""

    @property
    def model(self) -> str:
        """The folder or hub id of that model."""

    def train(self, spec: TuneSpec) -> None:
        """Begin a job, or go on with it where its folder says that it was.

        Raises
        ------
        EngineError
            When it cannot be sent anything.
        """

    def stop(self, job: str) -> None:
        """Stop a job, if it is at it; it will say that it has."""


class Prepared(Struct, frozen=True, kw_only=True):
    """What came of the files of a job: files of tokens, or what is wrong.

    Parameters
    ----------
    tokens, valid_tokens : str
        Paths; the second is empty where there is nothing to validate on.
    counts : dict of str to int
        What there is in them, such as ``{"examples": 200}``.
    trouble : Trouble or None
        Why they cannot be trained on.
    """

    tokens: str = ""
    valid_tokens: str = ""
    counts: dict[str, int] = {}
    trouble: Trouble | None = None


class Preparer(Protocol):
    """Who checks files and turns them into tokens, somewhere where serving does not feel it."""

    async def faults(self, path: Path) -> list[str]:
        """What is wrong with the lines of a file; empty when nothing is."""

    async def prepare(self, job: JobRecord, folder: Path) -> Prepared:
        """Turn the files of a job into tokens in a folder; can be cancelled."""
