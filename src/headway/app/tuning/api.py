"""The routes of files, jobs and tuned models, in OpenAI's shape."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from headway.app.server.errors import forbidden, internal, invalid, missing, no_room, unavailable
from headway.app.server.frontdoor import caller_of
from headway.app.server.limits import read_body
from headway.app.tuning.following import Following
from headway.app.tuning.job_body import check_notes, job_body
from headway.app.tuning.listing import answer_of, page_of
from headway.app.tuning.objects import checkpoint_object, event_object, file_object, job_object
from headway.app.tuning.records import JobRecord
from headway.app.tuning.service import TuningService
from headway.app.tuning.transitions import NotNow
from headway.app.tuning.troubles import DiskFull, UnknownCursor

log = logging.getLogger(__name__)

MOST_FILES = 10_000
MOST = 1000
SOME = 20
"""Limits of lists: of files, and of what belongs to jobs, where OpenAI's default is 20."""

TRUE = ("true", "1")

_NOTE = re.compile(r"metadata\[(.*)\]", re.DOTALL)

Answering = Callable[[Request, str], Awaitable[Response]]


class TuningRoutes:
    """Answers requests for one service of fine-tuning.

    Parameters
    ----------
    service : TuningService
        Who does what is asked.
    max_body_bytes : int
        Longest body, but for files.
    """

    def __init__(self, service: TuningService, max_body_bytes: int) -> None:
        self._service = service
        self._files = service.files
        self._max_body_bytes = max_body_bytes

    def table(self) -> list[Route]:
        """All routes."""
        jobs = "/v1/fine_tuning/jobs"
        rows: tuple[tuple[str, str, Answering], ...] = (
            ("POST", "/v1/files", self.upload),
            ("GET", "/v1/files", self.files),
            ("GET", "/v1/files/{id}", self.file),
            ("DELETE", "/v1/files/{id}", self.delete_file),
            ("GET", "/v1/files/{id}/content", self.content),
            ("POST", jobs, self.create),
            ("GET", jobs, self.jobs),
            ("GET", f"{jobs}/{{id}}", self.job),
            ("POST", f"{jobs}/{{id}}/cancel", self.cancel),
            ("POST", f"{jobs}/{{id}}/pause", self.pause),
            ("POST", f"{jobs}/{{id}}/resume", self.resume),
            ("GET", f"{jobs}/{{id}}/events", self.events),
            ("GET", f"{jobs}/{{id}}/checkpoints", self.checkpoints),
            ("DELETE", "/v1/models/{name:path}", self.delete_model),
        )
        return [Route(path, self._guarded(answering), methods=[method]) for method, path, answering in rows]

    async def upload(self, request: Request, owner: str) -> Response:
        """Take a file in."""
        return _json(file_object(await self._files.upload(request, owner)))

    async def files(self, request: Request, owner: str) -> Response:
        """List files."""
        page = page_of(request.query_params, default=MOST_FILES, most=MOST_FILES)
        listing = await self._files.page(owner, page, request.query_params.get("purpose", ""))
        return _json(answer_of([file_object(file) for file in listing.records], listing.has_more))

    async def file(self, request: Request, owner: str) -> Response:
        """Describe a file."""
        return _json(file_object(await self._files.find(request.path_params["id"], owner)))

    async def delete_file(self, request: Request, owner: str) -> Response:
        """Delete a file."""
        id = request.path_params["id"]
        await self._files.delete(id, owner)
        return _json({"id": id, "object": "file", "deleted": True})

    async def content(self, request: Request, owner: str) -> Response:
        """Give a file back."""
        file = await self._files.find(request.path_params["id"], owner)
        path = self._files.path_of(file.id)
        if not path.is_file():
            raise missing(f"The file '{file.id}' is gone from the disk.", "file_id")
        return FileResponse(path, media_type="application/octet-stream", filename=file.filename)

    async def create(self, request: Request, owner: str) -> Response:
        """Make a job."""
        raw = await read_body(request.scope, request.receive, self._max_body_bytes)
        return self._told(await self._service.create(owner, job_body(raw)))

    async def jobs(self, request: Request, owner: str) -> Response:
        """List jobs."""
        page = page_of(request.query_params, default=SOME, most=MOST)
        listing = await self._service.jobs(owner, page, _notes(request))
        objects = [job_object(job, self._service.finish_of(job)) for job in listing.records]
        return _json(answer_of(objects, listing.has_more))

    async def job(self, request: Request, owner: str) -> Response:
        """Describe a job."""
        return self._told(await self._service.job(request.path_params["id"], owner))

    async def cancel(self, request: Request, owner: str) -> Response:
        """Give a job up."""
        return self._told(await self._service.cancel(request.path_params["id"], owner))

    async def pause(self, request: Request, owner: str) -> Response:
        """Let a job wait."""
        return self._told(await self._service.pause(request.path_params["id"], owner))

    async def resume(self, request: Request, owner: str) -> Response:
        """Let a job go on."""
        return self._told(await self._service.resume(request.path_params["id"], owner))

    async def events(self, request: Request, owner: str) -> Response:
        """List what happened to a job, or follow it as server-sent events."""
        job = await self._service.job(request.path_params["id"], owner)
        page = page_of(request.query_params, default=SOME, most=MOST)
        listing = await self._service.events(job.id, page)
        if request.query_params.get("stream", "").lower() in TRUE:
            return Following(self._service, job.id, page.after)
        return _json(answer_of([event_object(event) for event in listing.records], listing.has_more))

    async def checkpoints(self, request: Request, owner: str) -> Response:
        """List the checkpoints of a job."""
        job = await self._service.job(request.path_params["id"], owner)
        page = page_of(request.query_params, default=10, most=MOST)
        listing, steps = await self._service.checkpoints(job.id, page)
        objects = [checkpoint_object(job, one, steps.get(one.step)) for one in listing.records]
        return _json(answer_of(objects, listing.has_more))

    async def delete_model(self, request: Request, owner: str) -> Response:
        """Offer a tuned model no longer."""
        name = request.path_params["name"]
        await self._service.delete_model(name, owner)
        return _json({"id": name, "object": "model", "deleted": True})

    def _guarded(self, answering: Answering) -> Callable[[Request], Awaitable[Response]]:
        """Let in who may fine-tune, as long as there is somebody to answer."""

        async def answer(request: Request) -> Response:
            caller = caller_of(request.scope)
            if not caller.tunes:
                raise forbidden("This API key may not fine-tune models. Use one that the server was given for that.")
            if self._service.closing:
                raise unavailable("it is shutting down", "shutting_down")
            return await _answer(request, caller.tenant, answering)

        return answer

    def _told(self, job: JobRecord) -> Response:
        return _json(job_object(job, self._service.finish_of(job)))


async def _answer(request: Request, owner: str, answering: Answering) -> Response:
    """Make answers of what goes wrong in here."""
    try:
        return await answering(request, owner)
    except DiskFull as error:
        log.error("tuning: %s", error)
        raise no_room(str(error)) from error
    except NotNow as error:
        raise invalid(str(error), code="invalid_state") from error
    except UnknownCursor as error:
        raise invalid(str(error), "after") from error
    except sqlite3.Error as error:
        log.exception("tuning: the books cannot be read or written")
        raise internal("The books of files and jobs cannot be read or written; the server's log says why.") from error


def _notes(request: Request) -> dict[str, str] | None:
    """The `metadata[key]=value` of a request; None when it asks for jobs without any."""
    if request.query_params.get("metadata") == "null":
        return None
    pairs = [(_NOTE.fullmatch(name), value) for name, value in request.query_params.multi_items()]
    notes = {found[1]: value for found, value in pairs if found}
    check_notes(notes)
    return notes


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
