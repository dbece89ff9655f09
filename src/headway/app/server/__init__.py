"""The OpenAI-compatible server: `run` a `ServerConfig`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headway.app.server.config import KEY_VARIABLE, ServerConfig, keys_of
from headway.core.errors import missing_extra
from headway.engines.llm.messages import Ready

if TYPE_CHECKING:
    from headway.app.server.extension import Extension
    from headway.app.server.service import Service

__all__ = ["KEY_VARIABLE", "ServerConfig", "keys_of", "run"]


def run(
    config: ServerConfig,
    *,
    on_loading: Callable[[str], None] | None = None,
    on_ready: Callable[[Ready, str], None] | None = None,
    extend: Callable[[Service], Extension] | None = None,
) -> int:
    """Serve until asked to stop, and return the exit status.

    Parameters
    ----------
    config : ServerConfig
        What to serve, and how.
    on_loading : callable or None
        Told in a few words what the engine does before it is ready.
    on_ready : callable or None
        Told the engine's facts and the server's address, such as ``"http://127.0.0.1:8000"``, once it can serve.
    extend : callable or None
        Makes what takes part in the server's life beside it, such as `headway.app.tuning.extension.extend`.

    Returns
    -------
    int
        0 after an orderly end. A second signal ends the process on the spot, with 128 plus the signal's number.

    Raises
    ------
    ConfigError
        When the configuration cannot work, for example because the port is taken.
    EngineError
        When the engine could not be started.
    MissingExtra
        When the server's libraries are not installed.
    """
    try:
        from headway.app.server.lifecycle import run_server  # imported late: it pulls in the HTTP libraries
    except ImportError as error:
        raise missing_extra(error.name or "starlette", "serve", "by the server") from error
    return run_server(config, on_loading=on_loading, on_ready=on_ready, extend=extend)
