"""Where a server listens."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from headway.core.errors import ConfigError

BACKLOG = 2048


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listen for the length of a `with` block.

    Raises
    ------
    ConfigError
        When the address is taken or not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"server: must be able to listen on {host} port {port}, got: {reason}. Try --port 0."
        ) from error
    with listener:
        yield listener


def url_of(host: str, port: int) -> str:
    """Return the address of a server, such as ``"http://127.0.0.1:8000"``."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"
