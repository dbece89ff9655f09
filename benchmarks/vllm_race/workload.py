"""The mixed workload of `examples/recipes/mixed-slo.toml`, made as much smaller as this machine is than an A100.

Prompts are an eighth as long and outputs half: then the prompt of a chat takes some five times as long as a step of
decodes, and its tokens, in a batch, somewhat longer than its prompt, as in the recipe. Agents think half as long, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from headway.core.parameters import decode
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable
from mixed_slo import setting

PROMPT_SCALE, OUTPUT_SCALE = 8, 2
MOST_OUTPUT_TOKENS = 512
"""What every request says that it may take; how long it will be is known to nobody."""
LEAST_OUTPUT_TOKENS = 2
PRIORITIES = {"chat": 0, "code": 0, "agent": 0, "summary": 1, "batch": 2}
"""For vLLM's scheduling by priority: smaller goes first."""
FIRST_TOKEN, LAST_TOKEN, STOP_TOKEN = 300, 2000, 299


class Row(Struct, frozen=True, kw_only=True):
    """One request of a run.

    Parameters
    ----------
    number : int
        Its place among those of the run.
    at_s : float
        When it is sent, in seconds since the start; of one that comes `after` another, when it was recorded to be.
    slo_class : str
        Its kind.
    session : str
        The conversation it belongs to; empty for none.
    after : int
        The request that must end before it is sent, or -1.
    gap_s : float
        How long after that end it is sent.
    prompt : list of int
        Its tokens.
    output_tokens : int
        How many tokens it is given.
    """

    number: int
    at_s: float
    slo_class: str
    session: str
    after: int
    gap_s: float
    prompt: list[int]
    output_tokens: int

    def body(self, extra: dict[str, Any], *, by_priority: bool) -> bytes:
        """Return the JSON of the request.

        Its last token is forced on it when its length is reached, so that `max_tokens` gives nothing away.
        """
        fields: dict[str, Any] = {
            "model": "race", "prompt": self.prompt, "stream": True, "stream_options": {"include_usage": True},
            "temperature": 0, "ignore_eos": True, "max_tokens": MOST_OUTPUT_TOKENS,
            "min_tokens": self.output_tokens - 1, "stop_token_ids": [STOP_TOKEN],
            "logit_bias": {str(STOP_TOKEN): 100.0},
        }  # fmt: skip
        if extra:
            fields["vllm_xargs"] = extra
        if by_priority:
            fields["priority"] = PRIORITIES[self.slo_class]
        return msgspec.json.encode(fields)


@lru_cache(maxsize=4)
def spec(num: int, data: Path | None) -> TraceSpec:
    """Return the recipe's trace, cut to about so many requests of each run."""
    mix = [dict(part) for part in setting("dev", data, 1)["trace"]["mix"]]
    whole = sum(part.get("max_requests", 300) for part in mix)
    for part in mix:
        part["max_requests"] = max(2, round(part.get("max_requests", 300) * num / whole))
        part["window"] = "random"
    return decode(TraceSpec, {"mix": mix}, where="race: trace")


def draw(seed: int, rate_per_s: float, num: int, salt: str, data: Path | None = None) -> list[Row]:
    """Draw the requests of one run, by arrival.

    Parameters
    ----------
    seed : int
        Equal seeds give equal requests, at whatever rate.
    rate_per_s : float
        Requests per second, > 0.
    num : int
        About how many, >= 10.
    salt : str
        Goes into the tokens of the prompts, so that no run finds those of another in a cache.
    data : Path or None
        A folder with the recorded traces; the shipped ones without.
    """
    table = spec(num, data).draw(seed)
    at_s = (table.arrival_s - table.arrival_s[0]) * ((len(table) - 1) / rate_per_s / table.duration_s)
    classes = table.labels["slo_class"]
    tokens = _Tokens(seed, salt)
    return [
        Row(
            number=row,
            at_s=float(at_s[row]),
            slo_class=classes[row],
            session=table.label("session", row),
            after=-1 if table.after is None else int(table.after[row]),
            gap_s=0.0 if table.gap_s is None else float(table.gap_s[row]) / OUTPUT_SCALE,
            prompt=tokens.prompt(table, row),
            output_tokens=max(LEAST_OUTPUT_TOKENS, round(int(table.output_tokens[row]) / OUTPUT_SCALE)),
        )
        for row in range(len(table))
    ]


class _Tokens:
    """Makes prompts: equal blocks of the trace become equal tokens, and the rest is anybody's."""

    def __init__(self, seed: int, salt: str) -> None:
        self._key = (seed, *salt.encode())

    def prompt(self, table: RequestTable, row: int) -> list[int]:
        num = max(1, round(int(table.prompt_tokens[row]) / PROMPT_SCALE))
        parts: list[Sequence[int]] = []
        if table.prefixes is not None:
            size = max(1, table.prefixes.block_tokens // PROMPT_SCALE)
            parts = [self._some(size, 1, int(block)) for block in table.prefixes[row].tolist()]
            parts = parts[: num // size]
        parts.append(self._some(num - sum(map(len, parts)), 2, row))
        return [token for part in parts for token in part]

    def _some(self, num: int, *key: int) -> list[int]:
        drawn: list[int] = np.random.default_rng([*self._key, *key]).integers(FIRST_TOKEN, LAST_TOKEN, num).tolist()
        return drawn
