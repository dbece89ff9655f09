"""The body of an upload: straight to the disk, never all of it in memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from headway.app.server.errors import timed_out
from headway.app.tuning.form import MAX_FIELD_BYTES, MAX_FIELDS, Form, too_long
from headway.app.tuning.troubles import noticing_full_disks

CHUNK_BYTES = 1 << 20
"""How much is gathered before it is written, in a thread of its own."""

PATIENCE_S = 60.0
"""How long a client may be silent in the middle of a file."""

AROUND_BYTES = MAX_FIELDS * (MAX_FIELD_BYTES + 1024)
"""The most that a form may have besides its file."""


async def take_upload(request: Request, path: Path, max_file_bytes: int) -> Form:
    """Write the file of a form to `path`, and return the rest of the form.

    The file is on the disk when this returns; when it raises, what is there counts for nothing.

    Raises
    ------
    ApiError
        400 when it is no proper form, 413 when the file is too long, 504 when it stops coming.
    ClientDisconnect
        When the client went away in the middle.
    DiskFull
        When there is no room for it.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_file_bytes + AROUND_BYTES:
        raise too_long(max_file_bytes)
    form = Form(request.headers.get("content-type", ""), max_file_bytes)
    sink = await asyncio.to_thread(_open, path)
    try:
        await _pour(request, form, sink)
        form.end()
        await asyncio.to_thread(_settle, sink)
    finally:
        await asyncio.to_thread(os.close, sink)
    return form


async def _pour(request: Request, form: Form, sink: int) -> None:
    """Take the body to its end; few, long writes."""
    gathered = bytearray()
    more, total = True, 0
    while more:
        message = await _next(request)
        data: bytes = message.get("body", b"")
        total += len(data)
        gathered += form.push(data)
        if total - form.size > AROUND_BYTES:
            raise too_long(AROUND_BYTES)
        more = message.get("more_body", False)
        if len(gathered) >= CHUNK_BYTES or (gathered and not more):
            await asyncio.to_thread(_write, sink, bytes(gathered))
            gathered.clear()


async def _next(request: Request) -> Message:
    try:
        async with asyncio.timeout(PATIENCE_S):
            message = await request.receive()
    except TimeoutError:
        raise timed_out(PATIENCE_S) from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


def _open(path: Path) -> int:
    with noticing_full_disks():
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)


def _write(sink: int, data: bytes) -> None:
    left = memoryview(data)
    with noticing_full_disks():
        while left:
            left = left[os.write(sink, left) :]


def _settle(sink: int) -> None:
    with noticing_full_disks():
        os.fsync(sink)
