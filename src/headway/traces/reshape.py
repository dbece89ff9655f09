"""Tables made of tables: a span of time, a run of rows, another speed, shorter lengths, other arrivals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headway.core.errors import ConfigError, unknown_name
from headway.traces.generate.arrivals import Process
from headway.traces.table import Floats, Ints, RequestTable

MAX_LENGTH = 2**53


def between(table: RequestTable, start_s: float = 0.0, end_s: float | None = None) -> RequestTable:
    """Return the requests that arrived in ``[start_s, end_s)``, counted from `start_s` on.

    Raises
    ------
    ConfigError
        When nobody arrived then.
    """
    end = np.inf if end_s is None else end_s
    first, last = np.searchsorted(table.arrival_s, [start_s, end], side="left")
    if first >= last:
        raise ConfigError(
            f"{table.source}: start_s and end_s must leave a request, got [{start_s:g}, {end:g}) of a trace from "
            f"{table.arrival_s[0]:g} to {table.arrival_s[-1]:g} s."
        )
    part = table.take(np.arange(first, last))
    return replace(part, arrival_s=part.arrival_s - start_s)


def head(table: RequestTable, num: int) -> RequestTable:
    """Return the first `num` requests, or all where there are fewer."""
    return table if num >= len(table) else table.take(np.arange(num))


def window(table: RequestTable, num: int, rng: np.random.Generator) -> RequestTable:
    """Return a run of `num` neighbours that begins anywhere, its first arrival at 0."""
    if num >= len(table):
        return table
    first = int(rng.integers(len(table) - num + 1))
    part = table.take(np.arange(first, first + num))
    return replace(part, arrival_s=part.arrival_s - part.arrival_s[0])


def with_label(table: RequestTable, name: str, value: str) -> RequestTable:
    """Return the requests with a label, at the times they had.

    Raises
    ------
    UnknownName
        When the trace has no such label, or nobody has the value.
    """
    column = table.labels.get(name)
    if column is None:
        raise unknown_name(f"{table.source}: label", name, table.labels)
    if value not in column.names:
        raise unknown_name(f"{table.source}: {name}", value, column.names)
    return table.take(np.flatnonzero(np.asarray(column.names)[column.codes] == value))


def at_rate(table: RequestTable, rate_per_s: float) -> RequestTable:
    """Stretch or squeeze the times so that requests arrive at a mean rate; pauses of tools and people stay.

    Raises
    ------
    ConfigError
        When the rate is not above 0, or all requests arrive at once.
    """
    _check_rate(table, rate_per_s)
    if table.duration_s <= 0:
        raise ConfigError(
            f"{table.source}: a trace to be rescaled must span some time, got {len(table)} at one moment."
        )
    return faster(table, rate_per_s / table.rate_per_s)


def faster(table: RequestTable, factor: float) -> RequestTable:
    """Let requests arrive `factor` times as fast, > 0; pauses of tools and people stay.

    Raises
    ------
    ConfigError
        When the factor is not above 0.
    """
    if not 0 < factor < np.inf:
        raise ConfigError(f"{table.source}: the factor on the rate of arrivals must be > 0, got {factor}. Try 1.")
    return table if factor == 1 else replace(table, arrival_s=table.arrival_s / factor)


def shortened(
    table: RequestTable,
    max_prompt_tokens: int | None = None,
    max_output_tokens: int | None = None,
    max_tokens: int | None = None,
) -> RequestTable:
    """Cut lengths off at bounds; where both together are too long, the prompt gives way, down to one token.

    Raises
    ------
    ConfigError
        When a bound leaves no token for a prompt and an output.
    """
    bounds = {"max_prompt_tokens": max_prompt_tokens, "max_output_tokens": max_output_tokens, "max_tokens": max_tokens}
    for name, bound in bounds.items():
        least = 2 if name == "max_tokens" else 1
        if bound is not None and bound < least:
            raise ConfigError(f"trace: {name} must be >= {least}, got {bound}.")
    prompt, output = table.prompt_tokens, table.output_tokens
    prompt = prompt if max_prompt_tokens is None else np.minimum(prompt, max_prompt_tokens)
    output = output if max_output_tokens is None else np.minimum(output, max_output_tokens)
    if max_tokens is not None:
        output = np.minimum(output, max_tokens - 1)
        prompt = np.minimum(prompt, max_tokens - output)
    return with_lengths(table, prompt, output)


def lengthened(table: RequestTable, factor: float) -> RequestTable:
    """Multiply all lengths, > 0; hashes are dropped where there are some, for the blocks are others then.

    Raises
    ------
    ConfigError
        When the factor is not above 0.
    """
    if not 0 < factor < np.inf:
        raise ConfigError(f"{table.source}: the factor on lengths must be > 0, got {factor}. Try 1.")
    prompt, output = (np.maximum(np.rint(x * factor), 1) for x in (table.prompt_tokens, table.output_tokens))
    if max(prompt.max(), output.max()) >= MAX_LENGTH:
        raise ConfigError(f"{table.source}: the factor on lengths must leave them countable, got {factor}. Try less.")
    longer = replace(table, prefixes=table.prefixes if factor == 1 else None)
    return with_lengths(longer, prompt.astype(np.int64), output.astype(np.int64))


def with_lengths(table: RequestTable, prompt: Ints, output: Ints) -> RequestTable:
    """Put in other lengths; chains of hashes are cut to them, and measurements go where a length changed."""
    is_same = (prompt == table.prompt_tokens) & (output == table.output_tokens)
    if is_same.all():
        return table
    measured = {name: np.where(is_same, values, np.nan) for name, values in table.measured.items()}
    changed = replace(table, prompt_tokens=prompt, output_tokens=output, measured=measured)
    prefixes = table.prefixes
    if prefixes is None:
        return changed
    lengths = np.diff(prefixes.offsets)
    kept = np.minimum(lengths, -(-prompt // prefixes.block_tokens))
    place = np.arange(len(prefixes.values)) - np.repeat(prefixes.offsets[:-1], lengths)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    cut = replace(prefixes, values=prefixes.values[place < np.repeat(kept, lengths)], offsets=offsets)
    return replace(changed, prefixes=cut)


def arriving(table: RequestTable, process: Process, rng: np.random.Generator) -> RequestTable:
    """Let requests arrive by a process; those that follow others move along with the first of their chain."""
    roots = table.roots()
    lags_s = table.arrival_s - table.arrival_s[roots]  # how much later than its chain began each was recorded
    is_root = roots == np.arange(len(table))
    times = np.zeros(len(table))
    times[is_root] = process.draw(int(is_root.sum()), rng)
    return _ordered(table, times[roots] + lags_s)


def _ordered(table: RequestTable, arrival_s: Floats) -> RequestTable:
    order = np.argsort(arrival_s, kind="stable")
    # Times are put in last: in between, rows are checked while they are being moved.
    moved = replace(table, arrival_s=np.zeros(len(table))).take(order)
    return replace(moved, arrival_s=arrival_s[order])


def _check_rate(table: RequestTable, rate_per_s: float) -> None:
    if not 0 < rate_per_s < np.inf:
        raise ConfigError(f"{table.source}: rate_per_s must be > 0, got {rate_per_s}. Try {table.rate_per_s or 1:g}.")
