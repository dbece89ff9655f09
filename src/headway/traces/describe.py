"""What a trace is like, in numbers: how much, how bursty, how long, how alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from headway.traces.table import Floats, Ints, Prefixes, RequestTable

WINDOWS_S = (1.0, 10.0, 60.0)
MIN_WINDOWS = 10
"""Fewer windows than these say nothing about dispersion."""


class Spread(Struct, frozen=True, kw_only=True):
    """How values are distributed; those that are not known (NaN) are left out."""

    num: int
    mean: float
    min: float
    p10: float
    p50: float
    p90: float
    p99: float
    max: float
    total: float


class Sharing(Struct, frozen=True, kw_only=True):
    """How much of the prompts was seen before.

    Parameters
    ----------
    block_tokens : int
        Tokens per hashed block.
    num_blocks : int
        How many different blocks there are.
    seen_frac : float
        Share of all prompt tokens that lie in blocks which an earlier prompt began with in the same way: what a prefix
        cache without end would save.
    requests_frac : float
        Share of the requests that have such a block.
    """

    block_tokens: int
    num_blocks: int
    seen_frac: float
    requests_frac: float


class Chains(Struct, frozen=True, kw_only=True):
    """Requests that wait for each other: the calls of a session, the steps of a workflow."""

    num_chains: int
    calls: Spread
    gap_s: Spread | None


class Description(Struct, frozen=True, kw_only=True):
    """What a trace is like.

    Parameters
    ----------
    num_requests : int
        How many there are.
    duration_s : float
        From the first arrival to the last.
    rate_per_s : float
        Mean arrivals per second; 0 when all arrive at once.
    gap_cv : float or None
        Standard deviation of the gaps between arrivals over their mean: 1 for a Poisson process, more for bursts.
    dispersion : dict of str to float
        Variance over mean of the arrivals per window, by the window's seconds: 1 for a Poisson process.
    prompt_tokens, output_tokens : Spread
        Lengths.
    correlation : float or None
        Between the ranks of both lengths (Spearman).
    sharing : Sharing or None
        Where prefixes are known.
    chains : Chains or None
        Where requests wait for each other.
    labels : dict of str to dict of str to int
        How many requests have which label; the ten that most have.
    measured : dict of str to Spread
        What the recorded server did, in seconds.
    """

    num_requests: int
    duration_s: float
    rate_per_s: float
    gap_cv: float | None
    dispersion: dict[str, float]
    prompt_tokens: Spread
    output_tokens: Spread
    correlation: float | None
    sharing: Sharing | None
    chains: Chains | None
    labels: dict[str, dict[str, int]]
    measured: dict[str, Spread]


def describe(table: RequestTable) -> Description:
    """Sum up a trace of one request or more."""
    gaps = np.diff(table.arrival_s)
    measured = {name: spread(values) for name, values in table.measured.items()}
    return Description(
        num_requests=len(table),
        duration_s=table.duration_s,
        rate_per_s=table.rate_per_s,
        gap_cv=float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0 else None,
        dispersion=_dispersion(table.arrival_s),
        prompt_tokens=_known(spread(table.prompt_tokens)),
        output_tokens=_known(spread(table.output_tokens)),
        correlation=_rank_correlation(table.prompt_tokens, table.output_tokens),
        sharing=_sharing(table.prefixes, table.prompt_tokens) if table.prefixes is not None else None,
        chains=_chains(table) if table.after is not None else None,
        labels={name: _most(column.codes, column.names) for name, column in table.labels.items()},
        measured={name: found for name, found in measured.items() if found is not None},
    )


def spread(values: Floats | Ints) -> Spread | None:
    """Return how values are distributed, or None when none is known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    p10, p50, p90, p99 = (float(x) for x in np.quantile(known, (0.1, 0.5, 0.9, 0.99)))
    return Spread(
        num=len(known), mean=float(known.mean()), total=float(known.sum()), min=float(known.min()),
        max=float(known.max()), p10=p10, p50=p50, p90=p90, p99=p99,
    )  # fmt: skip


def _known(found: Spread | None) -> Spread:
    assert found is not None  # lengths are always known
    return found


def _dispersion(arrival_s: Floats) -> dict[str, float]:
    found = {}
    for window_s in WINDOWS_S:
        num = int((arrival_s[-1] - arrival_s[0]) // window_s)  # the last window is not whole
        if num >= MIN_WINDOWS:
            counts = np.bincount(((arrival_s - arrival_s[0]) // window_s).astype(np.int64))[:num]
            found[f"{window_s:g}"] = float(counts.var() / counts.mean())
    return found


def _rank_correlation(a: Ints, b: Ints) -> float | None:
    ranks = [_ranks(a), _ranks(b)]
    if min(rank.std() for rank in ranks) == 0:
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Ints) -> Floats:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]  # equal values share a rank
    return ranks


def _sharing(prefixes: Prefixes, prompt_tokens: Ints) -> Sharing:
    known, first = np.unique(prefixes.values, return_index=True)
    seen = _num_seen(prefixes, first)
    tokens = np.minimum(seen * prefixes.block_tokens, prompt_tokens)
    return Sharing(
        block_tokens=prefixes.block_tokens,
        num_blocks=len(known),
        seen_frac=float(tokens.sum() / prompt_tokens.sum()),
        requests_frac=float((seen > 0).mean()),
    )


def _num_seen(prefixes: Prefixes, first: Ints) -> Ints:
    """Return how many blocks at the beginning of each prompt an earlier prompt had; `first` are places of new ones."""
    lengths = np.diff(prefixes.offsets)
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    is_new = np.zeros(len(prefixes.values), bool)
    is_new[first] = True
    place = np.arange(len(is_new)) - np.repeat(prefixes.offsets[:-1], lengths)
    seen = lengths.copy()
    np.minimum.at(seen, row_of[is_new], place[is_new])
    return seen


def _chains(table: RequestTable) -> Chains:
    assert table.after is not None
    calls = np.bincount(table.roots())
    follows: npt.NDArray[np.bool_] = table.after >= 0
    gaps = spread(table.gap_s[follows]) if table.gap_s is not None else None
    return Chains(num_chains=int((calls > 0).sum()), calls=_known(spread(calls[calls > 0])), gap_s=gaps)


def _most(codes: Ints, names: tuple[str, ...], num: int = 10) -> dict[str, int]:
    counts = np.bincount(codes, minlength=len(names))
    order = np.argsort(-counts, kind="stable")[:num]
    return {names[code]: int(counts[code]) for code in order if counts[code]}
