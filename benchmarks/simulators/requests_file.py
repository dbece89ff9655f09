"""Writes the requests of a case as lines of JSON in Mooncake's format, so that all contenders get the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from case import HASHED_TOKENS, Case
from headway_world import trace_of

from headway.traces.generate.prefixes import PrefixGroups
from headway.traces.table import RequestTable

NUM_GROUPS = 256


def draw(case: Case) -> RequestTable:
    """Draw the requests with the hashes of their full blocks."""
    table = trace_of(replace(case, prefixes="none")).draw(case.seed)
    groups = PrefixGroups(
        num_groups=NUM_GROUPS,
        prefix_tokens=HASHED_TOKENS,
        shared_frac=1.0 if case.prefixes == "shared" else 0.0,
        block_tokens=HASHED_TOKENS,
    )
    return replace(table, prefixes=groups.draw(table.prompt_tokens, np.random.default_rng(case.seed)))


def lines(table: RequestTable) -> Iterator[str]:
    """Yield one line per request; a block that is not full has a hash of its own, as the format wants."""
    assert table.prefixes is not None
    next_id = int(table.prefixes.values.max(initial=0)) + 1
    for row in range(len(table)):
        chain, prompt = table.prefixes[row].tolist(), int(table.prompt_tokens[row])
        if prompt % HASHED_TOKENS:
            chain, next_id = [*chain, next_id], next_id + 1
        yield json.dumps(
            {
                "timestamp": float(table.arrival_s[row]) * 1e3,
                "input_length": prompt,
                "output_length": int(table.output_tokens[row]),
                "hash_ids": chain,
            }
        )


def main() -> None:
    """Write the file."""
    case = Case.told()
    text = "\n".join(lines(draw(case)))
    Path(case.requests_file).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
