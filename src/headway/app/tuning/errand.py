"""What the process that reads examples is sent for, and what it brings back."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from headway.app.tuning.records import Trouble

MAX_TOLD = 10
"""How many faults of a file are told at once."""


class Errand(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Check a file, or turn files into tokens in a folder.

    Parameters
    ----------
    training, validation : str
        Paths of files of examples; no validation when empty.
    folder : str
        Where files of tokens go; empty to check the lines of `training` alone.
    model : str
        The folder or hub id with the tokenizer.
    context_tokens : int
        The most tokens that an example may have.
    """

    training: str
    validation: str = ""
    folder: str = ""
    model: str = ""
    context_tokens: int = 0


class Brought(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of it: faults of `training`, or what `headway.app.tuning.ports.Prepared` holds."""

    faults: list[str] = []
    tokens: str = ""
    valid_tokens: str = ""
    counts: dict[str, int] = {}
    trouble: Trouble | None = None


def in_words(faults: Sequence[str]) -> str:
    """Say what is wrong with a file, in a few sentences."""
    told = " ".join(fault if fault.endswith(".") else f"{fault}." for fault in faults[:MAX_TOLD])
    return told + (f" That is not all: at least {len(faults)} faults were found." if len(faults) > MAX_TOLD else "")
