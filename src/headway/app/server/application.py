"""The ASGI application: routes behind the front door, and every error as OpenAI's error object."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from headway.app.server.errors import ApiError, of_status
from headway.app.server.frontdoor import OPEN_PATHS, FrontDoor, record_of
from headway.app.server.limits import discard_body
from headway.app.server.record import UNANSWERED
from headway.app.server.routes import Routes
from headway.app.server.service import Service

REFUSALS = frozenset({413, 429, 503})
MID_BODY = frozenset({413, 507})
"""Found out while the client is still sending."""


def make_app(service: Service) -> Starlette:
    """Build the application of a service."""
    app = Starlette(
        routes=[*service.extra_routes, *Routes(service).table()],
        middleware=[Middleware(FrontDoor, service=service)],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, ClientDisconnect: _gone},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


class LingeringResponse(Response):
    """An answer to a client that is still sending: it is sent at once, then the rest of the body is thrown away.

    Closing the connection with unread bytes would make the network drop the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer, then wait for the client to be done."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await discard_body(receive)
        await send({"type": "http.response.body", "body": b""})


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _answer(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers: Mapping[str, str] | None = error.headers
    detail = f"{error.detail}: {request.method} {request.url.path}"
    return _answer(request, of_status(error.status_code, detail, headers))


async def _gone(request: Request, _: Exception) -> Response:
    record_of(request.scope).error = "the client went away"
    return Response(status_code=UNANSWERED)  # nobody reads it


def _answer(request: Request, error: ApiError) -> Response:
    record_of(request.scope).error = error.body.message
    if error.status in REFUSALS and request.url.path not in OPEN_PATHS:
        service: Service = request.app.state.service
        service.metrics.count("headway_refused", (error.body.code or str(error.status),))
    if error.status in MID_BODY:
        return LingeringResponse(error.encoded, error.status, error.headers, "application/json")
    return error.response()
