"""How fast memory moves between instances and to the host."""

from __future__ import annotations

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds


class Links(Struct, frozen=True, kw_only=True):
    """Transfers of keys and values, each at the full speed of its link.

    Parameters
    ----------
    token_bytes : float
        Keys and values of one token on one instance, in bytes, >= 0; 0, so that transfers take no time.
    between_bytes_per_s : float
        From one instance to another, > 0.
    host_bytes_per_s : float
        Between an instance and its host, each way, > 0.
    latency_s : float
        Before the first byte arrives, in seconds, >= 0.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    token_bytes: float = 0.0
    between_bytes_per_s: float = 25e9
    host_bytes_per_s: float = 25e9
    latency_s: Seconds = 0.0

    def __post_init__(self) -> None:
        if not min(self.between_bytes_per_s, self.host_bytes_per_s) > 0 or min(self.token_bytes, self.latency_s) < 0:
            raise ConfigError(f"Links: speeds must be > 0, token_bytes and latency_s >= 0, got {self}.")

    def between_s(self, tokens: int) -> Seconds:
        """How long so many tokens take from one instance to another."""
        return self.latency_s + self.wire_s(tokens)

    def wire_s(self, tokens: int) -> Seconds:
        """How long so many tokens keep the link between two instances busy."""
        return tokens * self.token_bytes / self.between_bytes_per_s

    def host_s(self, tokens: int) -> Seconds:
        """How long so many tokens take from an instance to its host, or back."""
        return tokens * self.token_bytes / self.host_bytes_per_s
