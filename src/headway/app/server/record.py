"""What is remembered of one HTTP request until its line in the access log is written."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds

UNANSWERED = 499
"""The status of a request whose client went away before there was an answer."""


class Record(Struct, kw_only=True, omit_defaults=True):
    """One line of the access log; what does not apply is left out.

    Parameters
    ----------
    at_s : float
        When the request came, in seconds of the Unix epoch.
    id : str
        Also sent as ``x-request-id``.
    route : str
        Method and path.
    status : int
        HTTP status; 499 when the client went away before there was one.
    client : str
        Address of the client.
    trace_id : str
        Of the W3C trace it belongs to.
    model, slo_class, tenant : str
        What was asked for, as served.
    prompt_tokens, cached_tokens, output_tokens : int
        Tokens of all prompts and outputs.
    finish : str
        Why the outputs ended.
    ttft_s : float or None
        From arrival to the first token.
    e2e_s : float
        From arrival to the last byte handed to the network.
    error : str
        What went wrong.
    """

    at_s: Seconds
    id: str
    route: str
    status: int = UNANSWERED
    client: str = ""
    trace_id: str = ""
    model: str = ""
    slo_class: str = ""
    tenant: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    finish: str = ""
    ttft_s: Seconds | None = None
    e2e_s: Seconds = 0.0
    error: str = ""


class AccessLog:
    """Writes one line of JSON per request.

    Parameters
    ----------
    where : str
        ``"-"`` for standard error, a file to append to, or empty for nowhere.
    """

    def __init__(self, where: str) -> None:
        self._encoder = msgspec.json.Encoder()
        self._file: BinaryIO | None = None
        self._own = where not in ("", "-")
        if where == "-":
            self._file = sys.stderr.buffer
        elif where:
            self._file = _appended(Path(where))

    def write(self, record: Record) -> None:
        """Write one line."""
        if self._file is not None:
            self._file.write(self._encoder.encode(record) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file, if it is our own."""
        if self._file is not None and self._own:
            self._file.close()


def _appended(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError as error:
        raise ConfigError(f"server: access_log must be writable, got {path} ({error.strerror}).") from error


def now_s() -> Seconds:
    """Seconds of the Unix epoch."""
    return round(time.time(), 6)
