"""What no schedule can beat: the least time of one request, and the fewest instances, by arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headway.core.nouns import Seconds
from headway.sim.serving.cost import Replica
from headway.sim.serving.price import BatchShape, Chunk, StepPrice
from headway.traces.table import RequestTable

STEP_TOKENS = 1 << 16
"""Tokens of a step so large that the weights cost each of them next to nothing."""
CHUNK_TOKENS = (16, 64, 256, 1024, 4096)
"""Into chunks of which it is cut, so that attention costs them next to nothing, too; the cheapest counts."""
BATCHES = tuple(1 << power for power in range(13))
"""Numbers of decodes at once, up to more than any engine runs; the cheapest counts."""


@dataclass(frozen=True)
class Demand:
    """Which work must be done by when, for a share of the requests to meet their objectives.

    Parameters
    ----------
    table : RequestTable
        The requests.
    attain_frac : float
        The share of them that must.
    bounds : dict of str to float
        The loosest bound of each metric over all classes; absent where somebody has none.
    """

    table: RequestTable
    attain_frac: float
    bounds: Mapping[str, float]


def why_too_slow(replica: Replica, demand: Demand) -> str:
    """Say why even a request that is alone is too slow; empty when it is not."""
    return _why_decodes_are_too_slow(replica, demand) or _why_prompts_are_too_slow(replica.price, demand)


def fewest_instances(replica: Replica, demand: Demand) -> int:
    """Return how many instances are needed at the least: the work that must be done over the time that there is."""
    table, price = demand.table, replica.price
    needed = 1.0
    if "ttft_s" in demand.bounds and table.prefixes is None:
        token_s = min(price.step_s(_step_of(tokens)) for tokens in CHUNK_TOKENS) / STEP_TOKENS
        time_s = table.duration_s + demand.bounds["ttft_s"]
        needed = max(needed, _least(table.prompt_tokens, demand.attain_frac) * token_s / time_s)
    if {"ttft_s", "tpot_s"} <= set(demand.bounds):
        token_s = min(price.decode_line(num)[0] / num for num in BATCHES)
        last_s = demand.bounds["ttft_s"] + demand.bounds["tpot_s"] * float(table.output_tokens.max())
        work_s = _least(table.output_tokens - 1, demand.attain_frac) * token_s
        needed = max(needed, work_s / (table.duration_s + last_s))
    return math.ceil(needed - 1e-9)


def loosest(bounds: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the loosest bound of each metric that every class has."""
    if not bounds:
        return {}
    shared = set.intersection(*(set(metrics) for metrics in bounds.values()))
    return {metric: max(metrics[metric] for metrics in bounds.values()) for metric in shared}


def _why_decodes_are_too_slow(replica: Replica, demand: Demand) -> str:
    bound_s = demand.bounds.get("tpot_s", math.inf)
    alone_s: Seconds = sum(replica.price.decode_line(1)) * replica.num_stages
    if alone_s <= bound_s or float(np.mean(demand.table.output_tokens > 1)) <= 1 - demand.attain_frac:
        return ""
    return f"a request that is alone gets a token every {_ms(alone_s)}, over the bound of {_ms(bound_s)}"


def _why_prompts_are_too_slow(price: StepPrice, demand: Demand) -> str:
    """Judge by prompts computed alone, each in one step of one stage: splitting over stages may hide the rest."""
    bound_s = demand.bounds.get("ttft_s", math.inf)
    if demand.table.prefixes is not None:  # some of it may be in memory
        return ""
    within = demand.attain_frac * len(demand.table)
    tokens = int(np.sort(demand.table.prompt_tokens)[max(0, math.ceil(within) - 1)])
    alone_s = price.step_s(BatchShape(0, 0, (Chunk(tokens, 0),)))
    if alone_s <= bound_s:
        return ""
    return f"a prompt of {tokens:,} tokens that is alone takes {_ms(alone_s)}, over the bound of {_ms(bound_s)}"


def _step_of(chunk_tokens: int) -> BatchShape:
    return BatchShape(0, 0, (Chunk(chunk_tokens, 0),) * (STEP_TOKENS // chunk_tokens))


def _least(tokens: npt.NDArray[np.int64], share: float) -> float:
    """Return the tokens of the share of requests that has the fewest."""
    return float(np.sort(tokens)[: math.floor(share * len(tokens))].sum())


def _ms(seconds: Seconds) -> str:
    return f"{seconds * 1000:.3g} ms"
