"""Reads files of examples in a process of its own, so that serving does not feel it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from headway.app.tuning.errand import Brought, Errand
from headway.app.tuning.ports import Prepared
from headway.app.tuning.records import JobRecord
from headway.core.errors import EngineError

COMMAND = (sys.executable, "-m", "headway.app.tuning.reading")
STDERR = 2
MOST_AT_ONCE = 2
"""So many processes read at the same time; further errands wait."""
QUIET = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


class ChildPreparer:
    """A `Preparer` that starts a process for each errand; the process ends when this one does.

    Parameters
    ----------
    path_of : callable
        Returns where the file with an id lies.
    model : str
        The folder or hub id of the base model.
    context_tokens : callable
        Returns the most tokens that an example may have.
    command : sequence of str
        How the process is started.
    """

    def __init__(
        self,
        path_of: Callable[[str], Path],
        model: str,
        context_tokens: Callable[[], int],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._path_of = path_of
        self._model = model
        self._context_tokens = context_tokens
        self._command = tuple(command)
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def faults(self, path: Path) -> list[str]:
        """What is wrong with the lines of a file."""
        return (await self._send(Errand(training=str(path)))).faults

    async def prepare(self, job: JobRecord, folder: Path) -> Prepared:
        """Turn the files of a job into tokens."""
        errand = Errand(
            training=str(self._path_of(job.training_file)),
            validation=str(self._path_of(job.validation_file)) if job.validation_file else "",
            folder=str(folder),
            model=self._model,
            context_tokens=self._context_tokens(),
        )
        brought = await self._send(errand)
        return Prepared(
            tokens=brought.tokens,
            valid_tokens=brought.valid_tokens,
            counts=brought.counts,
            trouble=brought.trouble,
        )

    async def _send(self, errand: Errand) -> Brought:
        async with self._room:
            return await self._run(errand)

    async def _run(self, errand: Errand) -> Brought:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=STDERR,
            start_new_session=True,  # a Ctrl-C in the terminal is for the server to act on
            env={**os.environ, **QUIET},
        )
        try:
            return await _talk(process, errand)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _talk(process: asyncio.subprocess.Process, errand: Errand) -> Brought:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(errand) + b"\n")  # and it stays open: its end means that we are gone
    with contextlib.suppress(ConnectionError):
        await process.stdin.drain()
    answer = await process.stdout.read()
    if not answer:
        status = await process.wait()
        raise EngineError(f"tuning: the process that reads examples must answer, but ended with status {status}.")
    return msgspec.json.decode(answer, type=Brought)
