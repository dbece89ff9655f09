"""NVIDIA Dynamo's turn: the offline replay of its runtime (`ai-dynamo-runtime`), called without its front end."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from case import BLOCK_SIZE, HASHED_TOKENS, MAX_SEQS, NUM_BLOCKS, TOKEN_BUDGET, Case, Timed
from dynamo._core import run_mocker_trace_replay

ENGINE = {
    "num_gpu_blocks": NUM_BLOCKS,
    "block_size": BLOCK_SIZE,
    "max_num_seqs": MAX_SEQS,
    "max_num_batched_tokens": TOKEN_BUDGET,
    "enable_prefix_caching": True,
    "enable_chunked_prefill": True,
}


def replay(case: Case, load: float) -> dict[str, Any]:
    """Run one replay, and return its summary."""
    caching = {"enable_prefix_caching": case.prefixes != "none"}
    summary: dict[str, Any] = run_mocker_trace_replay(
        [case.requests_file],
        extra_engine_args={"engine": ENGINE | caching},
        num_workers=case.instances,
        router_mode="kv_router" if case.instances > 1 else "round_robin",
        arrival_speedup_ratio=load,
        replay_mode="offline",
        trace_block_size=HASHED_TOKENS,
    ).summary
    return summary


def main() -> None:
    """Replay, and print what it took."""
    case, timed, loop_s = Case.told(), Timed(), 0.0
    for load in case.loads:
        summary = timed.run(lambda load=load: replay(case, load))
        loop_s += summary["wall_time_ms"] / 1e3
        _count(timed, summary)
    timed.tell(loop_s=loop_s, version=importlib.metadata.version("ai-dynamo-runtime"))


def _count(timed: Timed, summary: dict[str, Any]) -> None:
    finished_per_s = summary["request_throughput_rps"]
    timed.count(
        summary["completed_requests"],
        summary["total_output_tokens"],
        finished_per_s=finished_per_s,
        prefix_hit_frac=summary["prefix_cache_reused_ratio"],
        mean_present=finished_per_s * summary["mean_e2e_latency_ms"] / 1e3,
    )


if __name__ == "__main__":
    main()
