"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headway.core.errors import ConfigError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a path to write to, which takes the place of `path` when the block ends well, and goes away if not.

    Parameters
    ----------
    path : Path
        The file to be written; its folder must exist. Of a link, what it points to is written.

    Raises
    ------
    ConfigError
        When the folder does not exist, or the path is a folder, a device or a pipe, whose place no file may take.
    """
    path = path.resolve() if path.is_symlink() else path
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: its folder must exist, but it does not. Run `mkdir -p {path.parent}`.")
    if path.is_dir():
        raise ConfigError(f"{path}: must be a file, but it is a folder. Name a file in it.")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: must be a file, but it is a device or a pipe. Name a file.")
    # The suffix stays last: those who write look at it.
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
