"""What columns are called: the names that people's files use, and which column of a table each becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headway.core.errors import ConfigError, TraceError, unknown_name
from headway.traces.readers.rows import LENGTHS, MEASURED

LABELS = ("tenant", "slo_class", "adapter", "session", "model", "step")
TIMES = ("arrival_s", "arrival_ms")

ALIASES: dict[str, tuple[str, ...]] = {
    "arrival_s": (
        "arrival_s", "arrived_at", "arrival_time", "arrival_time_s", "arrival_timestamp", "timestamp", "timestamp_s",
        "time_s", "time", "ts", "datetime", "date", "start_time", "start_s", "created_at",
    ),
    "arrival_ms": ("arrival_ms", "arrival_time_ms", "timestamp_ms", "time_ms", "start_ms"),
    "prompt_tokens": (
        "prompt_tokens", "input_tokens", "contexttokens", "context_tokens", "input_length", "input_len", "prompt_len",
        "prompt_length", "prompt_size", "num_prefill_tokens", "num_prompt_tokens", "num_input_tokens", "request_tokens",
    ),
    "output_tokens": (
        "output_tokens", "completion_tokens", "generatedtokens", "generated_tokens", "output_length", "output_len",
        "token_size", "num_decode_tokens", "num_output_tokens", "response_tokens", "decode_len",
    ),
    "tenant": ("tenant", "user", "user_id", "customer", "client", "client_id", "organization"),
    "slo_class": ("slo_class", "service_class"),
    "adapter": ("adapter", "adapter_id", "lora", "lora_id"),
    "session": ("session", "session_id", "conversation_id", "chat_id"),
    "model": ("model", "model_name"),
    "step": ("step",),
    "after": ("after",),
    "gap_s": ("gap_s",),
    "joins": ("joins",),
    "due_s": ("due_s",),
    "hash_ids": ("hash_ids", "block_hashes"),
    "block_tokens": ("block_tokens",),
    **{name: (name,) for metric in MEASURED for name in (metric, metric.replace("_s", "_ms"))},
    "e2e_s": ("e2e_s", "latency_s"),
    "e2e_ms": ("e2e_ms", "latency_ms"),
}  # fmt: skip
"""By column of a table, what it may be called in a file: lower case, spaces as underscores, the likeliest first."""


def plain(name: object) -> str:
    """Return a column's name as `ALIASES` spells names."""
    return str(name).strip().lstrip("\ufeff").lower().replace(" ", "_")


def resolve(found: Iterable[str], given: Mapping[str, str], where: str) -> dict[str, str]:
    """Say which column of a file is which of a table.

    Parameters
    ----------
    found : iterable of str
        The columns of the file.
    given : mapping of str to str
        What its reader was told: a column of a table, and its name in the file.
    where : str
        The file, for errors.

    Raises
    ------
    ConfigError
        When something was told of a column that no table has.
    TraceError
        When a length has no column, or a column that was named is not there.

    Examples
    --------
    >>> resolve(["TIMESTAMP", "ContextTokens", "GeneratedTokens"], {}, "x.csv")
    {'arrival_s': 'TIMESTAMP', 'prompt_tokens': 'ContextTokens', 'output_tokens': 'GeneratedTokens'}
    """
    names = list(found)
    chosen = _given(names, given, where)
    spelled = {plain(name): name for name in reversed(names)}
    for target, aliases in ALIASES.items():
        is_taken = target in chosen or (target in TIMES and any(time in chosen for time in TIMES))
        alias = None if is_taken else next((alias for alias in aliases if alias in spelled), None)
        if alias is not None and spelled[alias] not in chosen.values():
            chosen[target] = spelled[alias]
    _require_lengths(chosen, names, where)
    return chosen


def _given(names: list[str], given: Mapping[str, str], where: str) -> dict[str, str]:
    for target, name in given.items():
        if target not in ALIASES:
            error = unknown_name("columns", target, ALIASES)
            raise ConfigError(str(error)) from error
        if name not in names:
            raise TraceError(f"{where}: column {name!r} must be there, got {', '.join(names)}. Check --columns.")
    return dict(given)


def _require_lengths(chosen: Mapping[str, str], names: list[str], where: str) -> None:
    missing = [target for target in LENGTHS if target not in chosen]
    if missing:
        raise TraceError(
            f"{where}: must have a column {missing[0]} (or {', '.join(ALIASES[missing[0]][1:4])} ...), got "
            f"{', '.join(names) or 'none'}. Say which it is: --columns {missing[0]}=NAME."
        )
