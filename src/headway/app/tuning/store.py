"""The books of files, jobs and tuned models: kept by one thread, asked from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from headway.app.tuning.database import Database
from headway.app.tuning.tables import Checkpoints, Events, Files, Jobs, Models, Steps

T = TypeVar("T")


class Books:
    """All tables, for whoever is inside a transaction.

    Parameters
    ----------
    database : Database
        Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.files = Files(database)
        self.jobs = Jobs(database)
        self.events = Events(database)
        self.checkpoints = Checkpoints(database)
        self.steps = Steps(database)
        self.models = Models(database)


class Store:
    """Books that survive the end of the process, whatever ends it.

    Parameters
    ----------
    path : Path
        The database's file.

    Raises
    ------
    ConfigError
        When it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._books = Books(self._database)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="books")

    async def do(self, work: Callable[[Books], T]) -> T:
        """Read and write in one transaction, in the thread of the books: all of it happens, or nothing.

        It happens to its end even if nobody waits for it any more.

        Raises
        ------
        DiskFull
            When there is no room for what was to be written.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.now, work)

    def now(self, work: Callable[[Books], T]) -> T:
        """Do the same in this thread; for the time before and after the event loop."""
        with self._database.transaction():
            return work(self._books)

    def close(self) -> None:
        """Finish what was asked for, and close the file."""
        self._thread.shutdown()
        self._database.close()
