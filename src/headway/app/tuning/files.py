"""Files: uploaded, checked, listed, read, deleted, expired."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from starlette.requests import Request

from headway.app.server.errors import ApiError, invalid, missing
from headway.app.tuning.errand import in_words
from headway.app.tuning.folder import FILE, StateFolder, new_id
from headway.app.tuning.form import Form
from headway.app.tuning.records import RESULTS, TRAINING, FileRecord
from headway.app.tuning.store import Books, Store
from headway.app.tuning.tables import Listing, Page
from headway.app.tuning.troubles import noticing_full_disks
from headway.app.tuning.upload import take_upload

log = logging.getLogger(__name__)

EXPIRES_S = (3600, 2592000)
"""In how many seconds a file may be made to expire: an hour to thirty days, as OpenAI has it."""

Check = Callable[[Path], Awaitable[Sequence[str]]]
"""Says what is wrong with a file of examples, line by line."""


class Files:
    """The files of a server.

    Parameters
    ----------
    store : Store
        Where they are entered.
    folder : StateFolder
        Where they lie.
    check : callable
        What checks training files.
    max_file_bytes : int
        The most that one may have.
    """

    def __init__(self, store: Store, folder: StateFolder, check: Check, max_file_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._check = check
        self._max_file_bytes = max_file_bytes

    async def upload(self, request: Request, owner: str) -> FileRecord:
        """Take a file in.

        Raises
        ------
        ApiError
            400 when form, purpose or lines are wrong, 413 when it is too long.
        DiskFull
            When there is no room for it; nothing is left of it then.
        """
        id = new_id(FILE)
        coming = self._folder.uploads / id
        try:
            form = await take_upload(request, coming, self._max_file_bytes)
            file = _entry(id, owner, form)
            await self._examine(coming)
            await self._enter(file, coming)
        finally:
            await asyncio.to_thread(coming.unlink, missing_ok=True)
        return file

    async def find(self, id: str, owner: str) -> FileRecord:
        """The file with this id.

        Raises
        ------
        ApiError
            404 when there is none of this owner's.
        """
        file = await self._store.do(lambda books: books.files.get(id, owner))
        if file is None or (file.expires_at is not None and file.expires_at <= time.time()):
            raise missing(f"There is no file '{id[:99]}'. GET /v1/files lists those that there are.", "file_id")
        return file

    async def page(self, owner: str, page: Page, purpose: str = "") -> Listing[FileRecord]:
        """A part of an owner's files, of one purpose if it is named."""
        where, values = ["(expires_at IS NULL OR expires_at > ?)"], [time.time()]
        if purpose:
            return await self._store.do(
                lambda books: books.files.listing(owner, page, [*where, "purpose = ?"], [*values, purpose])
            )
        return await self._store.do(lambda books: books.files.listing(owner, page, where, values))

    async def delete(self, id: str, owner: str) -> None:
        """Delete a file.

        Raises
        ------
        ApiError
            404 when there is none of this owner's.
        """
        await self.find(id, owner)
        await self._store.do(lambda books: books.files.drop(id))
        await asyncio.to_thread(self.path_of(id).unlink, missing_ok=True)

    def path_of(self, id: str) -> Path:
        """Where the file with this id lies; only for ids from the books."""
        return self._folder.files / id

    def results(self, books: Books, id: str, owner: str, name: str, text: str) -> FileRecord:
        """Write a file of results and enter it; called inside a transaction, in the thread of the books.

        Raises
        ------
        DiskFull
            When there is no room for it.
        """
        coming, data = self._folder.uploads / id, text.encode()
        with noticing_full_disks():
            coming.write_bytes(data)
            coming.rename(self.path_of(id))
        file = FileRecord(
            id=id, owner=owner, filename=name, purpose=RESULTS, bytes=len(data), created_at=int(time.time())
        )
        books.files.add(file)
        return file

    async def expire(self) -> None:
        """Delete the files whose time is over."""
        for file in await self._store.do(lambda books: books.files.expired(time.time())):
            await self._store.do(lambda books, id=file.id: books.files.drop(id))  # type: ignore[misc]
            await asyncio.to_thread(self.path_of(file.id).unlink, missing_ok=True)

    async def _examine(self, path: Path) -> None:
        faults = await self._check(path)
        if faults:
            raise _faulty(faults)

    async def _enter(self, file: FileRecord, coming: Path) -> None:
        """Make a file count: first where it lies, then in the books, so that what is in the books is there."""
        path = self.path_of(file.id)
        with noticing_full_disks():
            await asyncio.to_thread(coming.rename, path)
        try:
            await self._store.do(lambda books: books.files.add(file))
        except BaseException:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise


def _entry(id: str, owner: str, form: Form) -> FileRecord:
    purpose, now_s = form.fields.pop("purpose", None), int(time.time())
    if purpose is None:
        raise invalid("Missing required parameter: 'purpose'.", "purpose", "missing_required_parameter")
    if purpose != TRAINING:
        raise invalid(f"`purpose` must be '{TRAINING}' here, got '{purpose[:99]}'.", "purpose", "invalid_purpose")
    lasts_s = _lasts_s(form.fields)
    for name in form.fields:
        raise invalid(f"Unknown parameter: '{name[:99]}'.", name[:99], "unknown_parameter")
    return FileRecord(
        id=id,
        owner=owner,
        filename=form.filename or "file",
        purpose=purpose,
        bytes=form.size,
        created_at=now_s,
        expires_at=None if lasts_s is None else now_s + lasts_s,
    )


def _lasts_s(fields: dict[str, str]) -> int | None:
    """In how many seconds a file is to expire, if it is; takes what says so out of the fields."""
    anchor, seconds = fields.pop("expires_after[anchor]", None), fields.pop("expires_after[seconds]", None)
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise invalid("`expires_after[anchor]` must be 'created_at'.", "expires_after[anchor]")
    low, high = EXPIRES_S
    if seconds is None or not (seconds.isascii() and seconds.isdigit() and low <= int(seconds[:12]) <= high):
        raise invalid(f"`expires_after[seconds]` must be from {low} to {high}.", "expires_after[seconds]")
    return int(seconds)


def _faulty(faults: Sequence[str]) -> ApiError:
    return invalid(f"The file cannot be trained on: {in_words(faults)}", "file", "invalid_file_format")
