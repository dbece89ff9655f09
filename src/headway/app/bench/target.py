"""Whom the load generator speaks to, and how it words a request."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from headway.app.bench.load import Planned
from headway.app.bench.prompts import Prompts
from headway.core.errors import ConfigError

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"


class Target(Struct, frozen=True, kw_only=True):
    """An endpoint of an OpenAI-compatible server.

    Parameters
    ----------
    base_url : str
        ``http://host:port`` or ``https://...``.
    endpoint : str
        A path that ends in ``/completions`` or ``/chat/completions``.
    model : str
        The model to name.
    api_key : str
        Sent as a bearer token; empty for none.
    headers : dict of str to str
        Sent with every request.
    sampling : dict
        Fields such as ``temperature``, put into every body.
    extra_body : dict
        More fields, which win over all others.
    ignore_eos : bool
        Ask the server to give every output its full length.
    timeout_s : float
        How long one request may take from its sending, in seconds, > 0.
    """

    base_url: str
    endpoint: str = COMPLETIONS
    model: str = ""
    api_key: str = ""
    headers: dict[str, str] = {}
    sampling: dict[str, Any] = {}
    extra_body: dict[str, Any] = {}
    ignore_eos: bool = False
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"bench: --base-url must be http(s)://HOST[:PORT], got {self.base_url!r}. Try http://127.0.0.1:8000."
            )
        if not self.endpoint.rstrip("/").endswith("/completions"):
            raise ConfigError(f"bench: --endpoint must be {COMPLETIONS} or {CHAT}, got {self.endpoint!r}.")
        if not self.timeout_s > 0:
            raise ConfigError(f"bench: --request-timeout must be > 0, got {self.timeout_s}. Try 600.")

    @property
    def is_chat(self) -> bool:
        """Whether prompts go as messages."""
        return self.endpoint.rstrip("/").endswith("/chat/completions")

    @property
    def root(self) -> str:
        """The base URL without the ``/v1`` that some clients want in it."""
        return self.base_url.rstrip("/").removesuffix("/v1")

    @property
    def url(self) -> str:
        """Where requests go."""
        return self.root + "/" + self.endpoint.strip("/")

    def head(self, request_id: str, num_bytes: int) -> list[tuple[bytes, bytes]]:
        """Return the header lines of one request."""
        parts = urlsplit(self.base_url)
        lines = {
            "Host": parts.netloc.rpartition("@")[2],
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Content-Length": str(num_bytes),
            "X-Request-Id": request_id,
        }
        if self.api_key:
            lines["Authorization"] = f"Bearer {self.api_key}"
        return [(key.encode("latin-1"), value.encode("latin-1")) for key, value in {**lines, **self.headers}.items()]

    def body(self, planned: Planned, prompts: Prompts) -> bytes:
        """Return the JSON of one request; the answer is always streamed, with its token counts at the end."""
        prompt = prompts.of(planned)
        fields: dict[str, Any] = {"model": self.model, "stream": True, "stream_options": {"include_usage": True}}
        if self.is_chat:
            fields["messages"] = [{"role": "user", "content": prompt}]
            fields["max_completion_tokens"] = planned.output_tokens
        else:
            fields["prompt"] = prompt
            fields["max_tokens"] = planned.output_tokens
        if self.ignore_eos:
            fields["ignore_eos"] = True
        if planned.slo_class:
            fields["service_tier"] = planned.slo_class
        return msgspec.json.encode({**fields, **self.sampling, **self.extra_body})
