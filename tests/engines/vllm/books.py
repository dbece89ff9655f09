"""What must agree between vLLM's books and those that a policy decides by."""

from __future__ import annotations

from typing import Any

from engines.vllm.rig import Rig

PAGED = {"serving/vllm", "serving/vllm-v1", "serving/sarathi", "serving/slos-serve", "serving/headway"}
"""Policies that take memory as it is needed, so that a decoding request holds the same in both books."""


def watch(rig: Rig, policy: str) -> None:
    """Check the books whenever vLLM has put a step together."""
    scheduler: Any = rig.scheduler
    inner = scheduler.schedule

    def schedule(*arguments: Any) -> Any:
        told = inner(*arguments)
        assert scheduler.host is not None, "the host has given up"
        check(rig, told.num_scheduled_tokens, is_paged=policy in PAGED)
        return told

    scheduler.schedule = schedule


def check(rig: Rig, counts: dict[str, int], *, is_paged: bool) -> None:
    """Compare who runs, how far each has come and what it holds."""
    scheduler: Any = rig.scheduler
    host, instance = scheduler.host, scheduler.host.instance
    running = {**instance.running, **instance.flying}
    mine = {id for id in running if id not in host._new}
    assert mine == {request.request_id for request in scheduler.running}
    assert {id for id, request in scheduler.requests.items() if request not in scheduler.running} == {
        id for id in host.board.requests if id not in mine
    }
    for request in scheduler.running:
        state = running[request.request_id]
        _check_one(rig, request, state, counts.get(request.request_id, 0))
        if not instance.kv.caching:
            # Whoever rests has all its tokens, and waits with what was meant for one more.
            _check_held(rig, state, is_exact=is_paged and state.decoding and state.id in instance.running)
    held = {block for state in running.values() for block in state.blocks}
    held |= {block for blocks in instance.kv.pins.values() for block in blocks}
    assert len(held) + instance.kv.num_free == instance.kv.num_blocks
    if not instance.kv.caching:
        assert instance.kv.num_free <= rig.num_free, "policies are told of memory that is not there"


def _check_one(rig: Rig, request: Any, state: Any, count: int) -> None:
    assert request.num_computed_tokens - count == state.computed_tokens, state.id
    # A token is known on the board once the step after the one that gives it is asked for.
    is_due = rig.overlapped and count and not request.is_prefill_chunk
    assert request.num_tokens + request.num_output_placeholders - bool(is_due) == state.known_tokens, state.id


def _check_held(rig: Rig, state: Any, *, is_exact: bool) -> None:
    held, booked = len(rig.scheduler.kv_cache_manager.get_block_ids(state.id)[0]), len(state.blocks)
    assert held <= booked, f"{state.id} holds {held} blocks, and {booked} in the books"
    assert held == booked or not is_exact, f"{state.id} holds {held} blocks, and {booked} in the books"
