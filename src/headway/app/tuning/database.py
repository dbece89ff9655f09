"""The SQLite file behind the books: its schema with versions, and transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headway.app.tuning.troubles import noticing_full_disks
from headway.core.errors import ConfigError

SCHEMA = (
    """
    CREATE TABLE files (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, purpose TEXT NOT NULL,
        expires_at INTEGER, record BLOB NOT NULL
    );
    CREATE INDEX files_of ON files (owner, seq);
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, status TEXT NOT NULL,
        name TEXT NOT NULL, record TEXT NOT NULL
    );
    CREATE INDEX jobs_of ON jobs (owner, seq);
    CREATE UNIQUE INDEX live_names ON jobs (name)
        WHERE status IN ('validating_files', 'queued', 'running', 'paused');
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL, record BLOB NOT NULL
    );
    CREATE INDEX events_of ON events (job, seq);
    CREATE TABLE checkpoints (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job TEXT NOT NULL, step INTEGER NOT NULL,
        record BLOB NOT NULL, UNIQUE (job, step)
    );
    CREATE TABLE steps (
        job TEXT NOT NULL, step INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (job, step)
    ) WITHOUT ROWID;
    CREATE TABLE models (name TEXT PRIMARY KEY, owner TEXT NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
    """,
)
"""What makes each version out of the one before; a change appends, and never edits."""

BUSY_MS = 5000


class Database:
    """One connection; it belongs to the thread that uses it first, and any one thread may.

    Parameters
    ----------
    path : Path
        The file; made when it is missing.

    Raises
    ------
    ConfigError
        When it is no database of ours, or of a later version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._upgrade()
        except sqlite3.Error as error:
            raise ConfigError(
                f"tuning: {path} must be a readable database of files and jobs, got: {error}. Give another --state-dir."
            ) from error

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do everything in the `with` block, or nothing of it.

        Raises
        ------
        DiskFull
            When there is no room for it.
        """
        with noticing_full_disks():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Write everything into the one file and close it."""
        self._connection.close()

    def _upgrade(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(SCHEMA):
            raise ConfigError(
                f"tuning: {self._path} must be of version {len(SCHEMA)} or before, got {version}. Use a newer Headway."
            )
        for number in range(version, len(SCHEMA)):
            self._connection.executescript(
                f"BEGIN IMMEDIATE; {SCHEMA[number]}; PRAGMA user_version = {number + 1}; COMMIT;"
            )
