"""What is sent and when: a list of planned requests, from a trace or from random draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from headway.app.bench.arrivals import arrivals
from headway.app.bench.tracefile import TraceRow, read_trace
from headway.core.errors import ConfigError


class Planned(Struct, frozen=True, kw_only=True):
    """One request to be sent.

    Parameters
    ----------
    id : str
        Unique in the run.
    at_s : float
        When it is to be sent, in seconds since the start of the run, >= 0.
    input_tokens, output_tokens : int
        The lengths to ask for, >= 1.
    slo_class : str
        The promise to name in the request; empty for none.
    blocks : tuple of int
        Ids of its prompt's prefix blocks; equal ids become equal text.
    """

    id: str
    at_s: float
    input_tokens: int
    output_tokens: int
    slo_class: str = ""
    blocks: tuple[int, ...] = ()


class Load(Struct, frozen=True, kw_only=True):
    """How to draw up the plan.

    Parameters
    ----------
    trace : str
        A file of recorded requests; empty draws random lengths.
    rate_scale : float
        How many times faster than recorded a trace is replayed, > 0.
    request_rate_per_s : float or None
        Requests per second of a gamma process, > 0; None keeps the trace's own times, or sends all at once without one.
    burstiness : float
        Shape of the gaps, see `arrivals`.
    num_prompts : int or None
        How many requests, >= 1; None takes the whole trace, or 1,000.
    random_input_len, random_output_len : int
        Mean lengths in tokens without a trace, >= 1.
    random_range_ratio : float
        Lengths are uniform within this share around the mean, in [0, 1).
    slo_shares : dict of str to float
        Share of the requests by SLO class, each > 0; empty names none.
    id_prefix : str
        What every request id starts with.
    seed : int
        Of all dice.
    """

    trace: str = ""
    rate_scale: float = 1.0
    request_rate_per_s: float | None = None
    burstiness: float = 1.0
    num_prompts: int | None = None
    random_input_len: int = 1024
    random_output_len: int = 128
    random_range_ratio: float = 0.0
    slo_shares: dict[str, float] = {}
    id_prefix: str = "bench-"
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least("--num-prompts", self.num_prompts, 1)
        _at_least("--random-input-len", self.random_input_len, 1)
        _at_least("--random-output-len", self.random_output_len, 1)
        if not (self.rate_scale > 0 and math.isfinite(self.rate_scale)):
            raise ConfigError(f"bench: --rate-scale must be > 0, got {self.rate_scale}. Try 1, the recorded speed.")
        if not 0 <= self.random_range_ratio < 1:
            raise ConfigError(f"bench: --random-range-ratio must be in [0, 1), got {self.random_range_ratio}. Try 0.")


def draw(load: Load) -> list[Planned]:
    """Draw up the plan of `load`, ordered by time."""
    times_rng, lengths_rng, classes_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(load.seed).spawn(3))
    rows = read_trace(Path(load.trace), load.num_prompts) if load.trace else _random_rows(load, lengths_rng)
    times = _times(load, rows, times_rng)
    classes = _classes(load.slo_shares, len(rows), classes_rng)
    return [
        Planned(
            id=f"{load.id_prefix}{number}",
            at_s=at_s,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            slo_class=slo_class,
            blocks=row.blocks,
        )
        for number, (row, at_s, slo_class) in enumerate(zip(rows, times, classes, strict=True))
    ]


def fit(plan: Sequence[Planned], context_tokens: int, spare_tokens: int = 0) -> tuple[list[Planned], int]:
    """Cap lengths to a model's context; returns the plan and how many requests were capped.

    Parameters
    ----------
    plan : sequence of Planned
        What was drawn.
    context_tokens : int
        Longest prompt plus output; 0 when unknown, which caps nothing.
    spare_tokens : int
        Tokens to leave free in every prompt, for instance for a chat template, >= 0.

    Notes
    -----
    An output keeps at most half of the context and a prompt the rest, so that neither starves the other.
    """
    if not context_tokens:
        return list(plan), 0
    room = context_tokens - spare_tokens
    if room < 2:
        raise ConfigError(f"bench: --max-model-len must be >= {spare_tokens + 2}, got {context_tokens}.")
    fitted = [_fitted(planned, room) for planned in plan]
    return fitted, sum(before != after for before, after in zip(plan, fitted, strict=True))


def _fitted(planned: Planned, room: int) -> Planned:
    if planned.input_tokens + planned.output_tokens <= room:
        return planned
    output = min(planned.output_tokens, room // 2)
    return replace(planned, input_tokens=min(planned.input_tokens, room - output), output_tokens=output)


def _random_rows(load: Load, rng: np.random.Generator) -> list[TraceRow]:
    num = load.num_prompts or 1000
    inputs = _lengths(load.random_input_len, load.random_range_ratio, num, rng)
    outputs = _lengths(load.random_output_len, load.random_range_ratio, num, rng)
    return [TraceRow(at_s=None, input_tokens=i, output_tokens=o) for i, o in zip(inputs, outputs, strict=True)]


def _lengths(mean: int, ratio: float, num: int, rng: np.random.Generator) -> list[int]:
    low, high = math.floor(mean * (1 - ratio)), math.ceil(mean * (1 + ratio))
    return [int(n) for n in rng.integers(max(1, low), high, size=num, endpoint=True)]


def _times(load: Load, rows: Sequence[TraceRow], rng: np.random.Generator) -> list[float]:
    recorded = [row.at_s for row in rows if row.at_s is not None]
    if load.request_rate_per_s is None and len(recorded) == len(rows):
        return [at_s / load.rate_scale for at_s in recorded]
    if load.trace and load.request_rate_per_s is None:
        raise ConfigError(
            f"bench: a trace without times needs --request-rate, and {load.trace} has none. Try --request-rate 1."
        )
    rate_per_s = math.inf if load.request_rate_per_s is None else load.request_rate_per_s
    return arrivals(len(rows), rate_per_s, load.burstiness, rng)


def _classes(shares: dict[str, float], num: int, rng: np.random.Generator) -> list[str]:
    if not shares:
        return [""] * num
    weights = np.array(list(shares.values()))
    return [str(name) for name in rng.choice(list(shares), size=num, p=weights / weights.sum())]


def _at_least(flag: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigError(f"bench: {flag} must be >= {least}, got {value}.")
