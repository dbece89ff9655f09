"""The state folder of a server: its books, uploads, and one folder per job; one server at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path

from headway.core.errors import ConfigError, HeadwayError

FILE = "file"
JOB = "ftjob"
"""Kinds of ids, as OpenAI's begin."""

ID_CHARS = 24


class FolderInUse(HeadwayError, RuntimeError):
    """Another server keeps its state in the folder."""


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where state is kept unless somebody says otherwise: ``$XDG_STATE_HOME/headway`` or ``~/.local/state/headway``."""
    home = environment.get("XDG_STATE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state") / "headway"


class StateFolder:
    """A folder that belongs to this process until `release`, or until the process ends in whatever way.

    Parameters
    ----------
    path : Path
        The folder; made when it is missing, for its user alone.

    Raises
    ------
    FolderInUse
        When another server has it.
    ConfigError
        When it cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock = -1
        try:
            for folder in (self.path, self.files, self.uploads, self.jobs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(self.path / "lock")
        except BlockingIOError as error:
            raise FolderInUse(f"{self.path} is in use by another server{_holder(self.path / 'lock')}") from error
        except OSError as error:
            raise ConfigError(
                f"server: state_dir must be a folder that can be written, got {self.path} ({error.strerror}). "
                "Give another --state-dir, or --no-tuning."
            ) from error

    @property
    def books(self) -> Path:
        """The database."""
        return self.path / "tuning.sqlite"

    @property
    def files(self) -> Path:
        """Where files are, by id."""
        return self.path / "files"

    @property
    def uploads(self) -> Path:
        """Where files are while they are coming."""
        return self.path / "uploads"

    @property
    def jobs(self) -> Path:
        """Where the folders of jobs are, by id."""
        return self.path / "jobs"

    def tidy(self, files: Collection[str], jobs: Collection[str]) -> None:
        """Remove what a server that was cut off left behind: half uploads, and all but these files and jobs."""
        for upload in _ours(self.uploads, FILE):
            upload.unlink(missing_ok=True)
        for file in _ours(self.files, FILE):
            if file.name not in files:
                file.unlink(missing_ok=True)
        for job in _ours(self.jobs, JOB):
            if job.name not in jobs:
                shutil.rmtree(job, ignore_errors=True)

    def release(self) -> None:
        """Leave it to others."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def new_id(kind: str) -> str:
    """Make an id that nobody can guess, such as of a `FILE`."""
    return f"{kind}-{uuid.uuid4().hex[:ID_CHARS]}"


def _ours(folder: Path, kind: str) -> list[Path]:
    """What we have put there; anything else in somebody's folder is theirs."""
    name = re.compile(f"{kind}-[0-9a-f]{{{ID_CHARS}}}")
    return [path for path in folder.iterdir() if name.fullmatch(path.name)]


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d" % os.getpid(), 0)
    except OSError as error:
        if error.errno != errno.ENOSPC:  # who holds it is for the curious; a full disk is told where it matters
            os.close(lock)
            raise
    return lock


def _holder(path: Path) -> str:
    try:
        return f", process {int(path.read_text())}"
    except (OSError, ValueError):
        return ""
