"""The events of a job as they happen, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import StreamingResponse

from headway.app.tuning.objects import event_object
from headway.app.tuning.records import OVER
from headway.app.tuning.service import TuningService
from headway.app.tuning.tables import Page

AT_ONCE = 100
ALIVE_S = 15.0
"""How often a comment says that the connection still is one."""

END = b"data: [DONE]\n\n"


class Following(StreamingResponse):
    """All events of a job, oldest first, until it is over or the server ends.

    Parameters
    ----------
    service : TuningService
        Who knows of the job.
    job : str
        Its id.
    after : str
        Id of an event after which to begin; empty for the first.
    """

    def __init__(self, service: TuningService, job: str, after: str = "") -> None:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(_follow(service, job, after), headers=headers, media_type="text/event-stream")


async def _follow(service: TuningService, job: str, after: str) -> AsyncIterator[bytes]:
    while True:
        beat = service.dispatcher.said.next
        over = service.closing or await _is_over(service, job)  # asked first: all that it said is there then
        listing = await service.events(job, Page(limit=AT_ONCE, after=after, ascending=True))
        for event in listing.records:
            yield b"data: " + msgspec.json.encode(event_object(event)) + b"\n\n"
            after = event.id
        if listing.has_more:
            continue
        if over:
            yield END
            return
        try:
            await asyncio.wait_for(beat.wait(), ALIVE_S)
        except TimeoutError:
            yield b": waiting\n\n"


async def _is_over(service: TuningService, job: str) -> bool:
    status = await service.status(job)
    return status in OVER
