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
    attend_bytes : float
        What one token of a request sends to a holder of its keys and values and gets back, over all layers, in bytes,
        >= 0; 0.
    round_s : float
        From asking a holder to its answer, attention apart, per layer, in seconds, >= 0; 0.
    hidden_tokens : int
        So many tokens can move to a holder in the background of each step and cost nothing, >= 0; 16 (Lin et al. 2024,
        arXiv 2401.02669).
    pool_bytes_per_s : float
        From the pool beyond the instances to one of them, > 0.
    pool_latency_s : float
        Before the first byte from there arrives, in seconds, >= 0; 0.
    copy_frac : float
        By which share each further one makes a step longer, >= 0; 0.0059, so that 32 tokens per step cost 8.6% of the
        throughput, as they measured.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    token_bytes: float = 0.0
    between_bytes_per_s: float = 25e9
    host_bytes_per_s: float = 25e9
    latency_s: Seconds = 0.0
    attend_bytes: float = 0.0
    round_s: Seconds = 0.0
    pool_bytes_per_s: float = 25e9
    pool_latency_s: Seconds = 0.0
    hidden_tokens: int = 16
    copy_frac: float = 0.0059

    def __post_init__(self) -> None:
        speeds = (self.between_bytes_per_s, self.host_bytes_per_s, self.pool_bytes_per_s)
        if not min(speeds) > 0 or min(self.token_bytes, self.latency_s, self.pool_latency_s) < 0:
            raise ConfigError(f"Links: speeds must be > 0, token_bytes and latency_s >= 0, got {self}.")
        if min(self.attend_bytes, self.round_s, self.hidden_tokens, self.copy_frac) < 0:
            raise ConfigError(f"Links: attend_bytes, round_s, hidden_tokens and copy_frac must be >= 0, got {self}.")

    def between_s(self, tokens: int) -> Seconds:
        """How long so many tokens take from one instance to another."""
        return self.latency_s + self.wire_s(tokens)

    def wire_s(self, tokens: int) -> Seconds:
        """How long so many tokens keep the link between two instances busy."""
        return tokens * self.token_bytes / self.between_bytes_per_s

    def pool_s(self, tokens: int) -> Seconds:
        """How long so many tokens take from the pool beyond the instances; nothing of none."""
        return self.pool_latency_s + tokens * self.token_bytes / self.pool_bytes_per_s if tokens else 0.0

    def attend_s(self, tokens: int) -> Seconds:
        """How long queries of so many tokens to a holder, and its answers, keep the link busy in all layers."""
        return tokens * self.attend_bytes / self.between_bytes_per_s

    def host_s(self, tokens: int) -> Seconds:
        """How long so many tokens take from an instance to its host, or back."""
        return tokens * self.token_bytes / self.host_bytes_per_s
