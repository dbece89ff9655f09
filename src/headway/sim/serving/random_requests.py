"""Small random workloads with shared prefixes, for tests and contract checks."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.session import arrival_stream, truth_stream
from headway.policies.serving.nouns import Request
from headway.sim.serving.truth import TrueRequest


class RandomRequests(Struct, frozen=True, kw_only=True):
    """A source of random requests: Poisson arrivals, log-normal lengths, some prompts with a prefix in common.

    Parameters
    ----------
    num_requests : int
        How many, >= 1; 40.
    rate_per_s : float
        Arrivals per second, > 0; 20.
    prompt_tokens, output_tokens : float
        Median lengths, >= 1; 120 and 20.
    sigma : float
        Standard deviation of the logarithm of both lengths, >= 0; 0.8.
    max_prompt_tokens, max_tokens : int
        Lengths are cut there, >= 1; 600 and 60. Every request asks for `max_tokens`.
    num_prefixes : int
        How many prefixes there are to share, >= 0; 3.
    shared_frac : float
        Share of requests that begin with one of them, in [0, 1]; 0.5.
    prefix_blocks : int
        Length of each in blocks, >= 1; 4. A prompt that is shorter shares what it has.
    block_size : int
        Tokens per block, >= 1; 16, as in the memory it is meant for.
    """

    num_requests: int = 40
    rate_per_s: float = 20.0
    prompt_tokens: float = 120.0
    output_tokens: float = 20.0
    sigma: float = 0.8
    max_prompt_tokens: int = 600
    max_tokens: int = 60
    num_prefixes: int = 3
    shared_frac: float = 0.5
    prefix_blocks: int = 4
    block_size: int = 16

    def __post_init__(self) -> None:
        smallest = min(self.num_requests, self.max_prompt_tokens, self.max_tokens, self.prefix_blocks, self.block_size)
        if smallest < 1 or not self.rate_per_s > 0 or not 0 <= self.shared_frac <= 1:
            raise ConfigError(
                "RandomRequests: counts and lengths must be >= 1, rate_per_s > 0 and shared_frac in [0, 1], got "
                f"{self}. Try the defaults."
            )

    def draw(self, seed: int) -> list[TrueRequest]:
        """Draw the requests of one seed, by arrival."""
        arrivals, truth = arrival_stream(seed), truth_stream(seed)
        times = np.cumsum(arrivals.exponential(1 / self.rate_per_s, self.num_requests)).tolist()
        return [self._one(index, at_s, arrivals, truth) for index, at_s in enumerate(times)]

    def _one(self, index: int, at_s: float, arrivals: np.random.Generator, truth: np.random.Generator) -> TrueRequest:
        prompt_tokens = _length(arrivals, self.prompt_tokens, self.sigma, self.max_prompt_tokens)
        output_tokens = _length(truth, self.output_tokens, self.sigma, self.max_tokens)
        full = prompt_tokens // self.block_size
        chain = [(index + 1) << 32 | block for block in range((prompt_tokens + output_tokens) // self.block_size)]
        if self.num_prefixes and arrivals.random() < self.shared_frac:
            prefix = int(arrivals.integers(self.num_prefixes))
            for block in range(min(self.prefix_blocks, full)):
                chain[block] = -((prefix + 1) << 32 | block)
        request = Request(
            id=f"r{index}",
            arrival_s=at_s,
            prompt_tokens=prompt_tokens,
            max_tokens=self.max_tokens,
            hashes=tuple(chain[:full]),
        )
        return TrueRequest(request=request, output_tokens=output_tokens, output_hashes=tuple(chain[full:]))


def _length(rng: np.random.Generator, median: float, sigma: float, largest: int) -> int:
    return int(np.clip(round(rng.lognormal(np.log(median), sigma)), 1, largest))
