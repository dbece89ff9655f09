"""The folder of a run: whose it is, what is written there at once or not at all, and what a full disk means."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import TuneError
from headway.core.writing import replacing
from headway.engines.tuning.spec import TuneSpec

RUN = "run.json"
"""The file that says whose folder it is."""

_FREE = ("job", "tokens", "valid_tokens", "folder", "checkpoint_steps", "device", "recompute")
"""What may differ from one start of a run to the next: nothing of it changes what is learnt."""


@contextmanager
def telling_disk_trouble(folder: Path) -> Iterator[None]:
    """Turn trouble with a disk into one sentence."""
    try:
        yield
    except OSError as error:
        raise TuneError(
            f"tune: {folder} must take what is written there, got: {error.strerror or error}. Make room, then begin "
            "again: it goes on from the last checkpoint."
        ) from error


def claim(spec: TuneSpec, digests: dict[str, str]) -> None:
    """Make the folder of a run, or make sure that it is this run's.

    Parameters
    ----------
    spec : TuneSpec
        The run.
    digests : dict of str to str
        What stands for its examples.

    Raises
    ------
    TuneError
        When it is another run's, or cannot be written.
    """
    folder = Path(spec.folder)
    told = msgspec.to_builtins(spec)
    identity = {name: value for name, value in told.items() if name not in _FREE} | digests
    with telling_disk_trouble(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = _read(folder / RUN)
        if found is None:
            with replacing(folder / RUN) as path:
                path.write_bytes(msgspec.json.format(msgspec.json.encode(identity)))
            return
    other = [name for name, value in identity.items() if found.get(name) != _plain(value)]
    if other:
        name = other[0]
        raise TuneError(
            f"tune: {folder} must be new or hold a run like this one, got one with another {name} "
            f"({found.get(name)!r}, not {identity[name]!r}). Choose another folder, or delete this one."
        )


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder that is there whole or not at all; one of the same name makes way.

    Parameters
    ----------
    folder : Path
        Where it is to be.
    fill : callable
        Writes files into the folder that it is given.
    """
    beside = folder.with_name(f".{folder.name}.new")
    old = folder.with_name(f".{folder.name}.old")
    for left in (beside, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        fill(beside)
        _flush(beside)
        if folder.exists():
            folder.replace(old)
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    _flush_one(folder.parent)


def _flush(folder: Path) -> None:
    """Wait until the files of a folder, and their names, are on the disk."""
    for path, _, names in os.walk(folder):
        for name in names:
            _flush_one(Path(path) / name)
        _flush_one(Path(path))


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise TuneError(f"tune: {path} must be readable, got: {error}. Delete its folder.") from error


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
