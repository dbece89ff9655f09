"""What requests need at the very least, and until when: the work that a bound counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.core.slo import SloClass
from headway.sim.serving.bound.line import Line
from headway.sim.serving.log import class_of
from headway.traces.table import Floats, Ints, RequestTable


@dataclass(frozen=True)
class Instances:
    """Equal instances of a fleet.

    Parameters
    ----------
    lines : tuple of Line
        Below their price.
    num : int
        How many there are, >= 1.
    kv_tokens : int
        Tokens that fit into the memory of one, >= 1.
    num_stages : int
        Stages that a step goes through one after the other, >= 1.
    caching : bool
        Whether prefixes are remembered.
    """

    lines: tuple[Line, ...]
    num: int
    kv_tokens: int
    num_stages: int = 1
    caching: bool = True


@dataclass(frozen=True)
class Work:
    """What each request needs of any policy; arrays are `[requests]`.

    Parameters
    ----------
    num_decodes : array of int
        Tokens it is given after the first.
    context_tokens : array of float
        Tokens in memory that these attend to, added up.
    own_tokens : array of float
        The same, without those that it may share with other requests; what its next token needs is counted.
    prefill_tokens, pairs : array of float
        Tokens of its prompt that nobody can have left in a cache, and pairs of one of them and one before it.
    most_tokens : array of int
        What it comes to.
    """

    num_decodes: Ints
    context_tokens: Floats
    own_tokens: Floats
    prefill_tokens: Floats
    pairs: Floats
    most_tokens: Ints

    def prefill_s(self, line: Line) -> Floats:
        """Return what prompts cost by a line, without steps."""
        return line.prefill_s * self.prefill_tokens + line.pair_s * self.pairs

    def decode_s(self, line: Line) -> Floats:
        """Return what the tokens after the first cost by a line, without steps."""
        return line.decode_s * self.num_decodes + line.context_s * self.context_tokens


@dataclass(frozen=True)
class Promises:
    """The tightest bounds of each request in seconds, infinite where nothing is promised; arrays are `[requests]`."""

    ttft_s: Floats
    tpot_s: Floats
    e2e_s: Floats


def work_of(table: RequestTable, max_tokens: int = 0, *, caching: bool = True) -> Work:
    """Return what the requests of a table need, knowing their outputs.

    Parameters
    ----------
    table : RequestTable
        The requests.
    max_tokens : int
        The most output tokens that any is given; 0 for no bound.
    caching : bool
        Whether prefixes are remembered: what begins alike may then be computed and kept once for all.
    """
    prompt = table.prompt_tokens
    outputs = np.minimum(table.output_tokens, max_tokens) if max_tokens else table.output_tokens
    num = outputs - 1
    found, shared = _common(table) if caching else (np.zeros(len(table)), np.zeros(len(table)))
    cached = np.minimum(found, prompt - 1)
    context = num * prompt + num * (num - 1) / 2  # the k-th of them attends to prompt + k - 1 tokens
    own = np.maximum(context + num - num * shared, 0.0)
    pairs = (prompt.astype(np.float64) ** 2 - cached**2) / 2
    new = (prompt - cached).astype(np.float64)
    return Work(num, context.astype(np.float64), own.astype(np.float64), new, pairs, prompt + num)


def promises_of(table: RequestTable, classes: Sequence[SloClass]) -> Promises:
    """Return what each request of a table is promised."""
    names = class_of(table, np.arange(len(table)))
    bounds = {metric: np.full(len(table), np.inf) for metric in ("ttft_s", "tpot_s", "e2e_s")}
    for slo_class in classes:
        mine = names == slo_class.name
        for slo in slo_class.slos:
            if slo.metric in bounds:
                bounds[slo.metric][mine] = np.minimum(bounds[slo.metric][mine], slo.bound)
    return Promises(**bounds)


def _common(table: RequestTable) -> tuple[Floats, Floats]:
    """Return how many leading tokens of each prompt others may have computed before, and may hold at the same time.

    Who follows a request is sent when that has ended, so what it computes helps the other way round only.
    """
    num = len(table)
    if table.prefixes is None or not num:
        return np.zeros(num), np.zeros(num)
    values, offsets, size = table.prefixes.values, table.prefixes.offsets, table.prefixes.block_tokens
    rows = np.repeat(np.arange(num), np.diff(offsets))
    _, block, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.full(len(counts), num)
    np.minimum.at(first, block, rows)
    is_shared = counts[block] > 1
    roots = table.roots()
    lowest, highest = np.full(len(counts), num), np.full(len(counts), -1)
    np.minimum.at(lowest, block, roots[rows])
    np.maximum.at(highest, block, roots[rows])
    elsewhere = (lowest != highest)[block] | _branches(table, roots)[rows]
    is_found = is_shared & ((first[block] != rows) | elsewhere)
    return _leading(is_found, rows, offsets) * size, _leading(is_shared, rows, offsets) * size


def _branches(table: RequestTable, roots: Ints) -> np.ndarray:
    """Say of each request whether some request of its chain is followed by more than one."""
    many = np.zeros(len(table), bool)
    if table.after is not None:
        followed = np.bincount(table.after[table.after >= 0], minlength=len(table))
        branching = np.zeros(len(table), bool)
        branching[roots[followed > 1]] = True
        many = branching[roots]
    return many


def _leading(fine: np.ndarray, rows: Ints, offsets: Ints) -> Floats:
    """Count the entries of each row before the first that is not fine."""
    places = np.arange(len(fine)) - offsets[rows]
    lengths = np.diff(offsets).copy()
    np.minimum.at(lengths, rows[~fine], places[~fine])
    return lengths.astype(np.float64)
