"""More of the same: a recorded trace, carried on with its own statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headway.core.errors import ConfigError
from headway.traces.table import Floats, Ints, Labels, Prefixes, RequestTable

RUN_ROWS = 100
"""Rows that are drawn together, so that bursts stay bursts."""
POPULAR_FRAC = 0.01
"""A block that at least this share of the requests (or chains of them) have, such as a system prompt, stays itself."""


def extend(table: RequestTable, num: int, rng: np.random.Generator) -> RequestTable:
    """Carry a trace on until it has `num` requests; the recorded ones stay as they are.

    Parameters
    ----------
    table : RequestTable
        The recorded trace, two requests or more.
    num : int
        How many there shall be; fewer than there are cuts the end off.
    rng : numpy.random.Generator
        Draws what is added.

    Notes
    -----
    Requests that know nothing of each other are drawn by a moving-block bootstrap: runs of up to 100 neighbours, each
    with its gap to the one before, its lengths and its labels, so that distributions, the correlation of prompt and
    output and bursts within a run are kept. Where requests share prefixes or wait for each other, the whole trace is
    repeated instead, with blocks and sessions of its own in each copy, except for blocks that are popular.

    Source: H. R. Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989.
    """
    if len(table) < 2:
        raise ConfigError(f"{table.source}: a trace to be extended must have two requests or more, got {len(table)}.")
    if num <= len(table):
        return table.take(np.arange(num))
    is_tied = table.prefixes is not None or table.after is not None
    longer = _repeated(table, num) if is_tied else _drawn(table, num, rng)
    return replace(longer, source=f"{table.source}, extended")


def _drawn(table: RequestTable, num: int, rng: np.random.Generator) -> RequestTable:
    rows = np.concatenate([np.arange(len(table)), _runs(len(table), num - len(table), rng)])
    gaps = np.diff(table.arrival_s, prepend=table.arrival_s[0])
    gaps[0] = gaps[1:].mean()
    added_s = table.arrival_s[-1] + np.cumsum(gaps[rows[len(table) :]])
    return _at(table, rows, np.concatenate([table.arrival_s, added_s]))


def _runs(num_rows: int, wanted: int, rng: np.random.Generator) -> Ints:
    run = max(1, min(RUN_ROWS, num_rows // 10))
    starts = rng.integers(num_rows - run + 1, size=-(-wanted // run))
    return (starts[:, None] + np.arange(run)).ravel()[:wanted]


def _repeated(table: RequestTable, num: int) -> RequestTable:
    rows = np.arange(num) % len(table)
    copies = np.arange(num) // len(table)
    period_s = table.duration_s * len(table) / (len(table) - 1)
    longer = _at(table, rows, table.arrival_s[rows] + copies * period_s)
    after = longer.after
    if after is not None:
        after = np.where(after >= 0, after + copies * len(table), -1)
    prefixes = longer.prefixes
    if prefixes is not None and table.prefixes is not None:
        prefixes = _own_blocks(table, table.prefixes, prefixes, copies)
    labels = longer.labels
    if "session" in labels:
        labels = {**labels, "session": _own_sessions(labels["session"], copies)}
    return replace(longer, after=after, prefixes=prefixes, labels=labels)


def _at(table: RequestTable, rows: Ints, arrival_s: Floats) -> RequestTable:
    """Return rows of a table in any order and number, at times of their own."""
    return replace(
        table,
        arrival_s=arrival_s,
        prompt_tokens=table.prompt_tokens[rows],
        output_tokens=table.output_tokens[rows],
        labels={name: column.take(rows) for name, column in table.labels.items()},
        prefixes=table.prefixes.take(rows) if table.prefixes is not None else None,
        **{name: column[rows] for name, column in table.optional().items()},
        measured={},  # nobody measured what was made up
    )


def _own_blocks(table: RequestTable, recorded: Prefixes, longer: Prefixes, copies: Ints) -> Prefixes:
    """Give the blocks of each copy ids of their own, except for popular ones."""
    known, codes = np.unique(recorded.values, return_inverse=True)
    roots = table.roots()
    pairs = np.unique(codes * len(table) + np.repeat(roots, np.diff(recorded.offsets)))
    num_chains = np.bincount(pairs // len(table), minlength=len(known))  # in how many chains each block is
    is_popular = num_chains >= max(2, POPULAR_FRAC * len(np.unique(roots)))
    lengths = np.diff(longer.offsets)
    codes = np.tile(codes, int(copies[-1]) + 1)[: len(longer.values)]
    own = np.where(is_popular[codes], 0, np.repeat(copies, lengths))
    return replace(longer, values=codes + own * len(known))


def _own_sessions(sessions: Labels, copies: Ints) -> Labels:
    num = len(sessions.names)
    names = [name if not copy else f"{name}.{copy}" for copy in range(int(copies[-1]) + 1) for name in sessions.names]
    return Labels(sessions.codes + copies * num, tuple(names))
