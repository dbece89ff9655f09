"""The bench itself, on vLLM's own schedulers."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from engines.vllm.rig import ASYNC, SYNC, Rig

ORDERS = pytest.mark.parametrize(("scheduler", "overlapped"), [(SYNC, False), (ASYNC, False), (ASYNC, True)])


@ORDERS
@pytest.mark.parametrize("caching", [True, False])
def test_every_request_is_given_its_tokens(scheduler: str, overlapped: bool, caching: bool) -> None:
    rig = Rig(scheduler, overlapped=overlapped, caching=caching, num_blocks=200)
    for number in range(20):
        rig.add(f"r{number}", 10 + 7 * number, max_tokens=1 + number, stops_at=5 if number % 3 == 0 else None)
        rig.step()
    rig.run()
    rig.check_all_ended()
    assert rig.told["r12"].finish == "stop"
    assert rig.told["r13"].finish == "length"


@ORDERS
@pytest.mark.parametrize("tokens_with_new", [False, True])
def test_short_memory_preempts_and_nothing_is_lost(scheduler: str, overlapped: bool, tokens_with_new: bool) -> None:
    rig = Rig(scheduler, overlapped=overlapped, num_blocks=12, tokens_with_new=tokens_with_new)
    for number in range(8):
        rig.add(f"r{number}", 30, max_tokens=60)
    num_preempted = 0
    for _ in range(2000):
        rig.step()
        num_preempted = max([num_preempted, *(r.num_preemptions for r in rig.scheduler.requests.values())])
        if not rig.has_work:
            break
    rig.check_all_ended()
    assert num_preempted


@ORDERS
def test_a_shared_prefix_is_found_and_right(scheduler: str, overlapped: bool) -> None:
    rig = Rig(scheduler, overlapped=overlapped)
    front = list(range(2, 90))
    for number in range(6):
        rig.add(f"r{number}", front + [2 + number] * 9, max_tokens=4)
        rig.step()
    rig.run()
    rig.check_all_ended()
    assert rig.scheduler.kv_cache_manager.block_pool.get_num_free_blocks() == 256
    assert rig.model.num_sampled == 24


@ORDERS
def test_cancelled_requests_leave_nothing(scheduler: str, overlapped: bool) -> None:
    rig = Rig(scheduler, overlapped=overlapped, num_blocks=40)
    for number in range(10):
        rig.add(f"r{number}", 50, max_tokens=30)
    for number in range(10):
        rig.step()
        if number % 2:
            rig.cancel(f"r{number}")
    rig.run()
    rig.check_all_ended()
    assert [told.finish for told in rig.told.values() if not told.cancelled] == ["length"] * 5


def test_memory_that_was_mixed_up_is_found() -> None:
    rig = Rig(SYNC)
    rig.add("r", 40)
    rig.add("s", 40)
    rig.step()
    rig.model.rows["r"].blocks[0] = rig.model.rows["s"].blocks[0]
    with pytest.raises(AssertionError, match="its memory holds something else from position 0"):
        rig.step()


def test_a_step_that_computes_what_nobody_knows_is_found() -> None:
    rig = Rig(SYNC)
    rig.add("r", 40)
    rig.step()
    rig.model.rows["r"].tokens.pop()
    with pytest.raises(AssertionError, match="41 tokens computed of 40 known"):
        rig.step()


def test_two_steps_are_under_way_when_they_overlap() -> None:
    rig = Rig(ASYNC, overlapped=True)
    rig.add("r", 20, max_tokens=5)
    rig.step()
    assert rig.num_in_flight == 1
    assert not rig.told["r"].tokens
    rig.step()
    assert rig.num_in_flight == 1
    assert len(rig.told["r"].tokens) == 1
    rig.run()
    rig.check_all_ended()
