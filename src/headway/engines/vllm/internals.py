"""What the scheduler uses of vLLM that vLLM does not promise to keep: a list, and a look whether all of it is there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from headway.core.errors import ConfigError

METHODS = {
    "__init__": None,
    "schedule": ("throttle_prefills",),
    "update_from_output": ("scheduler_output", "model_runner_output"),
    "add_request": ("request",),
    "finish_requests": ("request_ids", "finished_status"),
    "reset_prefix_cache": ("reset_running_requests", "reset_connector"),
    "shutdown": (),
    "_free_request": ("request", "delay_free_blocks"),
    "_handle_blocked_waiting_request": ("request",),
    "_preempt_request": ("request", "timestamp", "drop_stale_output"),
    "_reserve_prefill_lookahead": ("request", "num_computed_tokens", "num_new_tokens"),
    "_update_after_schedule": ("scheduler_output",),
    "_update_request_with_output": ("request", "new_token_ids", "is_stale"),
}
"""Methods of vLLM's scheduler that are called or replaced, and what they take; None for whatever they take."""

ATTRIBUTES = (
    "_pause_state", "block_size", "cache_config", "connector", "dcp_world_size", "deferred_waiting", "ec_connector",
    "is_encoder_decoder", "kv_cache_config", "kv_cache_manager", "log_stats", "lora_config", "max_model_len",
    "max_num_active_reqs", "max_num_scheduled_tokens", "need_mamba_block_aligned_split", "requests",
    "requires_kv_delivery", "running", "scheduler_config", "scheduler_reserve_full_isl", "vllm_config", "waiting",
)  # fmt: skip
"""What is read or set on a scheduler object."""

POOL = {
    "get_cached_block": ("block_hash", "kv_cache_group_ids"),
    "touch": ("blocks",),
    "free_blocks": ("ordered_blocks",),
}
"""Methods of the pool of blocks (``kv_cache_manager.block_pool``) by which memory is pinned, and what they take."""

REQUEST = (
    "arrival_time", "block_hashes", "client_index", "lora_request", "max_tokens", "num_computed_tokens",
    "num_output_tokens", "num_preemptions", "num_prompt_tokens", "priority", "record_event", "request_id", "resumable",
    "sampling_params", "session_id", "skip_reading_prefix_cache", "status", "take_events", "trace_headers",
)  # fmt: skip
"""What is read or called on a request; there is none yet to look at when the scheduler starts."""


def gone_from(owner: type, methods: Mapping[str, tuple[str, ...] | None] = METHODS) -> list[str]:
    """Return the methods that a class has no more, or with other parameters."""
    gone = []
    for name, expected in methods.items():
        method = getattr(owner, name, None)
        if method is None:
            gone.append(name)
        elif expected is not None and _parameters(method) != expected:
            gone.append(f"{name}({', '.join(_parameters(method))})")
    return gone


def check_methods(scheduler: type, version: str) -> None:
    """Accept the scheduler class of a release of vLLM, or say what is missing.

    Raises
    ------
    ConfigError
        With the names of methods that are gone or take something else.
    """
    gone = gone_from(scheduler)
    if gone:
        raise ConfigError(
            f"vllm: {version} must have the scheduler that Headway was written for, and these are gone or changed: "
            f"{', '.join(gone)}. Install a release that was tested, or leave --scheduler-cls out."
        )


def check_attributes(scheduler: object, version: str) -> None:
    """Accept a scheduler object, or say what is missing.

    Raises
    ------
    ConfigError
        With the names of attributes that are gone, or of methods of its pool of blocks.
    """
    gone = [name for name in ATTRIBUTES if not hasattr(scheduler, name)]
    if not gone:
        pool = getattr(getattr(scheduler, "kv_cache_manager", None), "block_pool", None)
        gone = [f"kv_cache_manager.block_pool.{name}" for name in gone_from(type(pool), POOL)]
    if gone:
        raise ConfigError(f"vllm: {version} must have a scheduler with {', '.join(gone)}, and it has not.")


def _parameters(method: object) -> tuple[str, ...]:
    return tuple(inspect.signature(method).parameters)[1:]  # type: ignore[arg-type]  # without self
