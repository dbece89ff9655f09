"""Requests that AIBrix's claims are measured with, where a recipe's trace does not suffice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headway.core.session import arrival_stream, truth_stream
from headway.traces.generate.lengths import LogNormal
from headway.traces.spec import TraceSpec
from headway.traces.table import Labels, RequestTable

QUERIES = LogNormal(prompt_median=4000, prompt_sigma=0.1, output_median=48, output_sigma=0.2)
"""4k prompts and 32 to 64 tokens of output, as in a test that the project documents."""


class ClosedLoop(TraceSpec, frozen=True, kw_only=True):
    """Clients that each send a request when the one before has ended; load does not change it.

    Parameters
    ----------
    num_clients : int
        How many, >= 1.
    ramp_s : float
        Within which time they begin, one after the other, in seconds, >= 0.
    """

    num_clients: int = 32
    ramp_s: float = 0.0

    def draw(self, seed: int = 0, load: float = 1.0) -> RequestTable:
        """Draw the requests of one run."""
        table = super().draw(seed, load)
        num = len(table)
        after = np.arange(num, dtype=np.int64) - self.num_clients
        begin_s = np.minimum(np.arange(num) / self.num_clients, 1.0) * self.ramp_s
        return replace(table, arrival_s=begin_s, after=np.maximum(after, -1), gap_s=np.zeros(num))


class WithAdapters(TraceSpec, frozen=True, kw_only=True):
    """Requests for many adapters, some far more popular than others.

    Parameters
    ----------
    num_adapters : int
        How many there are, >= 1.
    zipf : float
        The k-th is asked for in proportion to k to the power of -zipf, >= 0.
    """

    num_adapters: int = 16
    zipf: float = 1.0

    def draw(self, seed: int = 0, load: float = 1.0) -> RequestTable:
        """Draw the requests of one run."""
        table = super().draw(seed, load)
        rng = arrival_stream(seed).spawn(4)[3]
        weights = np.arange(1, self.num_adapters + 1) ** -self.zipf
        codes = rng.choice(self.num_adapters, size=len(table), p=weights / weights.sum()).astype(np.int64)
        names = tuple(f"adapter-{number}" for number in range(self.num_adapters))
        return replace(table, labels={**table.labels, "adapter": Labels(codes, names)})


class WithQueries(TraceSpec, frozen=True, kw_only=True):
    """Chat, and among it queries with long prompts and short answers (a database's schema before the question).

    Parameters
    ----------
    queries_frac : float
        Share of the queries, in [0, 1].
    """

    queries_frac: float = 4 / 11

    def draw(self, seed: int = 0, load: float = 1.0) -> RequestTable:
        """Draw the requests of one run."""
        table = super().draw(seed, load)
        rng = truth_stream(seed).spawn(5)[4]
        prompt, output = QUERIES.draw(len(table), rng)
        is_query = rng.random(len(table)) < self.queries_frac
        return replace(
            table,
            prompt_tokens=np.where(is_query, prompt, table.prompt_tokens),
            output_tokens=np.where(is_query, output, table.output_tokens),
        )
