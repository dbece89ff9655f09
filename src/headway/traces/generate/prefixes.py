"""Shared beginnings of prompts: groups that start with the same text, some far more popular than others."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.traces.table import Ints, Prefixes


class PrefixGroups(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Groups of requests whose prompts begin with the same tokens (a system prompt, a document, few-shot examples).

    Parameters
    ----------
    num_groups : int
        How many different beginnings there are, >= 1.
    prefix_tokens : int
        Length of each, >= 1; a shorter prompt is a piece of it.
    zipf : float
        The k-th group is chosen in proportion to k to the power of -zipf, >= 0; 0 is all alike, 1 by default.
    shared_frac : float
        Share of the requests that belong to a group at all, in [0, 1].
    block_tokens : int
        Tokens per hashed block, >= 1; only full blocks are hashed.
    """

    num_groups: int = 10
    prefix_tokens: int = 512
    zipf: float = 1.0
    shared_frac: float = 1.0
    block_tokens: int = 16

    def __post_init__(self) -> None:
        for name in ("num_groups", "prefix_tokens", "block_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"prefixes: {name} must be >= 1, got {getattr(self, name)}.")
        if not 0 <= self.shared_frac <= 1:
            raise ConfigError(f"prefixes: shared_frac must be in [0, 1], got {self.shared_frac}.")
        if not 0 <= self.zipf < np.inf:
            raise ConfigError(f"prefixes: zipf must be >= 0, got {self.zipf}. Try 1.")

    def draw(self, prompt_tokens: Ints, rng: np.random.Generator) -> Prefixes:
        """Draw the chains of hashes of prompts of these lengths."""
        num = len(prompt_tokens)
        weights = np.arange(1, self.num_groups + 1) ** -float(self.zipf)
        groups = rng.choice(self.num_groups, size=num, p=weights / weights.sum())
        is_shared = rng.random(num) < self.shared_frac
        blocks = prompt_tokens // self.block_tokens
        most = self.prefix_tokens // self.block_tokens
        return _chains(self.block_tokens, blocks, np.where(is_shared, np.minimum(blocks, most), 0), groups * most)


def _chains(block_tokens: int, blocks: Ints, shared: Ints, first_ids: Ints) -> Prefixes:
    """Make chains whose first `shared` ids count up from `first_ids`, and whose others are nobody else's."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(blocks)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], blocks)
    own_first = int(first_ids.max(initial=0)) + int(shared.max(initial=0))
    values = np.arange(own_first, own_first + offsets[-1])
    is_shared = place < np.repeat(shared, blocks)
    values[is_shared] = (np.repeat(first_ids, blocks) + place)[is_shared]
    return Prefixes(block_tokens, values, offsets)
