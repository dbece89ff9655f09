"""What the server says when it refuses: OpenAI's error object under the right status."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from starlette.responses import Response


class ErrorBody(Struct, frozen=True):
    """The inside of an OpenAI error object."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorObject(Struct, frozen=True):
    """OpenAI's error object."""

    error: ErrorBody


class ApiError(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
        HTTP status, 400 to 599.
    message : str
        What is wrong and what to do, in a sentence.
    kind : str
        OpenAI's `type`.
    param : str or None
        The parameter at fault.
    code : str or None
        A word for programs.
    headers : mapping of str to str
        Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = ErrorBody(message, kind, param, code)
        self.headers = dict(headers or {})

    @property
    def encoded(self) -> bytes:
        """The error object as JSON."""
        return msgspec.json.encode(ErrorObject(self.body))

    @property
    def event(self) -> bytes:
        """The error object as a server-sent event, for streams that have begun."""
        return b"data: " + self.encoded + b"\n\n"

    def response(self) -> Response:
        """The answer that says so."""
        return Response(self.encoded, self.status, self.headers, "application/json")


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that cannot be served as it is: 400."""
    return ApiError(400, message, param=param, code=code)


def unknown_model(name: str) -> ApiError:
    """The model named in a request is not served here: 404."""
    message = f"The model `{name}` does not exist here. GET /v1/models lists those that do."
    return ApiError(404, message, param="model", code="model_not_found")


def too_large(limit_bytes: int) -> ApiError:
    """The body is longer than allowed: 413."""
    message = f"The request body must have at most {limit_bytes} bytes."
    return ApiError(413, message, code="request_too_large", headers={"Connection": "close"})


def bad_key() -> ApiError:
    """No API key, or not one of ours: 401."""
    message = "A valid API key is needed. Send it as `Authorization: Bearer KEY`."
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str, code: str = "insufficient_permissions") -> ApiError:
    """The key is good, and not for this: 403."""
    return ApiError(403, message, code=code)


def missing(message: str, param: str | None = None) -> ApiError:
    """There is no such thing, or not for this key: 404."""
    return ApiError(404, message, param=param, code="not_found")


def taken(message: str, param: str | None = None) -> ApiError:
    """It is there already: 409."""
    return ApiError(409, message, param=param, code="already_exists")


def no_room(message: str) -> ApiError:
    """There is no room on the disk: 507."""
    return ApiError(507, message, kind="server_error", code="disk_full")


def too_busy(retry_after_s: int) -> ApiError:
    """As much waits and runs as is allowed: 429."""
    message = f"The server is at its limit of waiting and running requests. Try again in {retry_after_s} s."
    headers = {"Retry-After": str(retry_after_s)}
    return ApiError(429, message, kind="rate_limit_error", code="rate_limit_exceeded", headers=headers)


def overloaded(why: str, retry_after_s: float) -> ApiError:
    """The scheduler turned a request away for want of room: 429."""
    seconds = max(1, math.ceil(retry_after_s))
    message = f"The server turned the request away: {why}. Try again in {seconds} s."
    headers = {"Retry-After": str(seconds)}
    return ApiError(429, message, kind="rate_limit_error", code="overloaded", headers=headers)


def unavailable(why: str, code: str = "engine_unavailable", retry_after_s: int = 1) -> ApiError:
    """The engine cannot serve now: 503."""
    headers = {"Retry-After": str(retry_after_s)}
    return ApiError(503, f"The server cannot answer now: {why}.", kind="server_error", code=code, headers=headers)


def timed_out(timeout_s: float) -> ApiError:
    """The request took longer than the server allows: 504."""
    message = f"The request took longer than {timeout_s:g} s and was given up. Ask for fewer tokens."
    return ApiError(504, message, kind="timeout_error", code="request_timeout")


def internal(message: str = "Something went wrong in the server; its log says what.") -> ApiError:
    """A fault of ours: 500."""
    return ApiError(500, message, kind="server_error", code="internal_error")


def of_status(status: int, detail: str, headers: Mapping[str, str] | None = None) -> ApiError:
    """An error that the router found, such as a path that does not exist."""
    code = {404: "not_found", 405: "method_not_allowed"}.get(status)
    return ApiError(status, f"{detail}.", code=code, headers=headers)
