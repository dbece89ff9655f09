"""The cheapest mix of accelerators for a load whose requests differ in size: AIBrix's optimiser, after Melange.

A small accelerator may be the cheapest for short requests and useless for long ones. So requests are told apart by
their lengths; for each kind of them it is worked out what one instance of each type carries within the promises, and an
integer program says how many of each type cost least. Requests must then be routed by length or by promise
(``serving/aibrix`` with a strategy ``slo-*``), or long ones land where they do not belong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.numerics.cover import cheapest_cover
from headway.sim.serving.cost.replica import Replica
from headway.sim.serving.price import BatchShape, Chunk
from headway.traces.table import RequestTable

EDGES = (1, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 1 << 20)
"""Where kinds of lengths begin, in tokens."""


class Kind(Struct, frozen=True, kw_only=True):
    """Requests of about the same size.

    Parameters
    ----------
    prompt_tokens, output_tokens : int
        Mean lengths, >= 1.
    rate_per_s : float
        Arrivals per second, > 0.
    """

    prompt_tokens: int
    output_tokens: int
    rate_per_s: float


def kinds_of(table: RequestTable) -> list[Kind]:
    """Return the kinds of requests in a trace: AIBrix's histogram of prompt and output lengths."""
    span_s = max(float(table.arrival_s[-1] - table.arrival_s[0]), 1e-9)
    cells = np.stack([np.digitize(column, EDGES) for column in (table.prompt_tokens, table.output_tokens)])
    found = []
    for cell in np.unique(cells, axis=1).T:
        mine = (cells == cell[:, None]).all(axis=0)
        prompt, output = (round(float(column[mine].mean())) for column in (table.prompt_tokens, table.output_tokens))
        found.append(Kind(prompt_tokens=prompt, output_tokens=output, rate_per_s=float(mine.sum()) / span_s))
    return found


def carries_per_s(
    replica: Replica, kind: Kind, *, ttft_s: Seconds = math.inf, tpot_s: Seconds = math.inf, chunk_tokens: int = 512
) -> float:
    """Return how many requests of a kind one instance carries within promises; 0 when it cannot keep them at all.

    Parameters
    ----------
    replica : Replica
        The instance.
    kind : Kind
        The requests; their rate does not matter.
    ttft_s : float
        Within twice the time that a prompt takes alone, in chunks beside all decodes, the first token must be there.
    tpot_s : float
        The mean time per output token, in seconds; the prompts of others are computed in between.
    chunk_tokens : int
        Prompts are computed in chunks of so many tokens, >= 1; 512.
    """
    prompt, output = kind.prompt_tokens, kind.output_tokens
    most = replica.num_kv_tokens // (prompt + output)
    best = 0.0
    for num in range(1, min(most, 512) + 1):
        context = round(num * (prompt + output / 2))
        decode_s = replica.price.step_s(BatchShape(num, context))
        whole_s = _prompt_s(replica, prompt, chunk_tokens, num, context)
        # While one request decodes, each of the others has its prompt computed once; decodes go on meanwhile.
        added_s = max(0.0, whole_s - math.ceil(prompt / chunk_tokens) * decode_s)
        life_s = output * decode_s + num * added_s
        if 2 * whole_s > ttft_s or life_s / output > tpot_s:
            break
        best = max(best, num / life_s)
    return best


def cheapest_mix(
    kinds: Sequence[Kind],
    replicas: Mapping[str, Replica],
    *,
    usd_per_h: Mapping[str, float] | None = None,
    ttft_s: Seconds = math.inf,
    tpot_s: Seconds = math.inf,
    used_frac: float = 0.8,
    slices: int = 8,
    budget_s: Seconds = 5.0,
) -> dict[str, int]:
    """Return how many instances of each type carry some requests at the least cost.

    Parameters
    ----------
    kinds : sequence of Kind
        The requests; `kinds_of` finds them in a trace.
    replicas : mapping of str to Replica
        An instance of each type, by name.
    usd_per_h : mapping of str to float
        Prices that take the place of the hardware table's.
    ttft_s, tpot_s : float
        What requests are promised, in seconds; nothing by default.
    used_frac : float
        How full an instance is planned to be, in (0, 1]; 0.8 leaves room for arrivals that are not even.
    slices : int
        Into how many parts each kind is divided at most, >= 1, which may go to different types; 8, as in Melange.
    budget_s : float
        How long to look, in seconds, > 0.

    Raises
    ------
    ConfigError
        When a kind of request cannot be carried by any type, or scipy is missing.
    """
    names = list(replicas)
    load = np.array([[_load(replicas[name], kind, ttft_s, tpot_s) for name in names] for kind in kinds]) / used_frac
    for kind, row in zip(kinds, load, strict=True):
        if not np.isfinite(row).any():
            size = f"{kind.prompt_tokens} tokens of prompt and {kind.output_tokens} of output"
            raise ConfigError(f"mix: requests of {size} must be carried by some type, got none. Promise less.")
    shares = np.repeat(load / slices, slices, axis=0)
    costs = np.array([(usd_per_h or {}).get(name, replicas[name].usd_per_h) for name in names])
    counts, _ = cheapest_cover(shares, costs, budget_s=budget_s)
    return dict(zip(names, counts.tolist(), strict=True))


def _load(replica: Replica, kind: Kind, ttft_s: Seconds, tpot_s: Seconds) -> float:
    """Return how many instances the requests of a kind keep busy."""
    carried = carries_per_s(replica, kind, ttft_s=ttft_s, tpot_s=tpot_s)
    return kind.rate_per_s / carried if carried else math.inf


def _prompt_s(replica: Replica, prompt: int, chunk_tokens: int, num: int, context: int) -> Seconds:
    total_s, done = 0.0, 0
    while done < prompt:
        tokens = min(chunk_tokens, prompt - done)
        total_s += replica.price.step_s(BatchShape(num - 1, context, (Chunk(tokens, done),)))
        done += tokens
    return total_s
