"""The requests of a trace, made one at a time as they arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.policies.serving.nouns import Request
from headway.sim.serving.truth import TrueRequest
from headway.traces.table import Prefixes, RequestTable

AT_ONCE = 4096
"""Rows turned from columns into numbers at once, so that memory stays flat."""

TOOL = "tool"
"""What the tool is called whose result the next request of a session brings, where the trace has no name for it."""


class TableRequests:
    """A source of the requests of a table; the id of each is its row.

    Parameters
    ----------
    table : RequestTable
        The requests.
    block_size : int
        Tokens per block of the memory that they are for, >= 1; the table's hashes are cut to it.
    max_tokens : int
        What every request asks for, >= 1; 0 takes the longest output of the table, which nobody exceeds then.
    """

    def __init__(self, table: RequestTable, block_size: int = 16, max_tokens: int = 0) -> None:
        self._table = table
        self._is_plain = not (table.labels or table.optional() or table.prefixes is not None)
        self._block_size = block_size
        self._max_tokens = max_tokens or int(table.output_tokens.max(initial=1))
        self._followers = _followers(table)
        self._awaits = Counter(row for rows in self._followers.values() for row in rows)
        self._began_s: dict[int, Seconds] = {}  # of chains that are promised to be over in time
        self._session_of = _sessions(table)
        self._roots = table.roots()

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[TrueRequest]:
        table = self._table
        for first in range(0, len(table), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            times, prompts = table.arrival_s[rows].tolist(), table.prompt_tokens[rows].tolist()
            outputs = table.output_tokens[rows].tolist()
            for row, (at_s, prompt, output) in enumerate(zip(times, prompts, outputs, strict=True), first):
                if table.after is None or table.after[row] < 0:
                    yield self._make(row, at_s, prompt, output)

    def after(self, request: Id, now_s: Seconds) -> Sequence[TrueRequest]:
        """Those that are sent because a request has ended now, and with it all that they waited for."""
        if not self._followers:
            return ()
        table = self._table
        found = self._followers.pop(int(request), ())
        self._awaits.subtract(found)
        return [
            self._make(
                row,
                now_s + (float(table.gap_s[row]) if table.gap_s is not None else 0.0),
                int(table.prompt_tokens[row]),
                int(table.output_tokens[row]),
            )
            for row in found
            if not self._awaits[row]
        ]

    def lost(self, request: Id) -> Sequence[Id]:
        """Those that are never sent because a request was turned away; each is told once."""
        found = [row for row in self._followers.pop(int(request), ()) if self._awaits[row] > 0]
        for row in found:
            self._awaits[row] = -1  # whoever else it waits for
        return [str(row) for row in found]

    def unsent(self) -> list[int]:
        """The rows of those that have not been sent, for somebody they wait for has not ended."""
        return [row for row, num in self._awaits.items() if num]

    def _make(self, row: int, at_s: Seconds, prompt: int, output: int) -> TrueRequest:
        table = self._table
        if self._is_plain:
            request = Request(id=str(row), arrival_s=at_s, prompt_tokens=prompt, max_tokens=self._max_tokens)
            return TrueRequest(request=request, output_tokens=output)
        request = Request(
            id=str(row),
            arrival_s=at_s,
            prompt_tokens=prompt,
            max_tokens=self._max_tokens,
            tenant=table.label("tenant", row, "default"),
            slo_class=table.label("slo_class", row, "default"),
            adapter=table.label("adapter", row),
            session=table.label("session", row) or self._session_of.get(row, ""),
            stage=table.label("stage", row),
            deadline_s=self._deadline_s(row, at_s),
            priority=int(table.label("priority", row, "0")),
            hashes=_hashes(table.prefixes, row, prompt, self._block_size),
        )
        tool = table.label("tool", row) or (TOOL if row in self._followers else "")
        return TrueRequest(request=request, output_tokens=output, tool=tool)

    def _deadline_s(self, row: int, at_s: Seconds) -> Seconds | None:
        """Return until when the whole chain of a request is promised to be over."""
        if self._table.due_s is None or np.isnan(self._table.due_s[row]):
            return None
        return self._began_s.setdefault(int(self._roots[row]), at_s) + float(self._table.due_s[row])


def _followers(table: RequestTable) -> dict[int, list[int]]:
    """Return who waits for whom; who joins waits for all that were sent together with its predecessor."""
    found: dict[int, list[int]] = {}
    if table.after is None:
        return found
    after, joins = table.after.tolist(), table.joins
    for row in np.flatnonzero(table.after >= 0).tolist():
        found.setdefault(after[row], []).append(row)
    together = {before: tuple(rows) for before, rows in found.items()}
    for row in np.flatnonzero(joins).tolist() if joins is not None else ():
        for sibling in together.get(after[after[row]], ()) if after[row] >= 0 else ():
            if sibling != after[row]:
                found.setdefault(sibling, []).append(row)
    return found


def _sessions(table: RequestTable) -> dict[int, str]:
    """Return the sessions of requests that come after each other: each is called by the row of its first."""
    found: dict[int, str] = {}
    if table.after is not None:
        for row, before in enumerate(table.after.tolist()):  # who comes after another stands behind it
            found[row] = str(row) if before < 0 else found[before]
    return found


def _hashes(prefixes: Prefixes | None, row: int, prompt_tokens: int, block_size: int) -> tuple[int, ...]:
    """Return the chain of a prompt for blocks of another size than it was recorded with; full blocks only."""
    if prefixes is None:
        return ()
    chain, size = prefixes[row], prefixes.block_tokens
    num_full = min(prompt_tokens, len(chain) * size) // block_size
    if size % block_size == 0:  # a recorded block is several of ours, told apart by their place in it
        parts = size // block_size
        return tuple(((chain[:, None] * parts + np.arange(parts)).ravel()[:num_full]).tolist())
    if block_size % size == 0:  # several recorded blocks are one of ours, known by the last of them
        parts = block_size // size
        return tuple(chain[parts - 1 :: parts][:num_full].tolist())
    raise ConfigError(
        f"block_size: must divide the {size} tokens of a hashed block of the trace or be a multiple of them, got "
        f"{block_size}. Try {min(size, 16)}."
    )
