"""vLLM is paused, its cache is reset, prompts are held back, grammars come late: nothing is lost."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from engines.vllm.books import watch
from engines.vllm.rig import HOSTED, Rig, prompt_of
from engines.vllm.twins import PRICE

ORDERS = pytest.mark.parametrize("overlapped", [False, True])
EACH = pytest.mark.parametrize(
    "policy",
    [
        "serving/orca",
        "serving/vllm",
        "serving/vllm-v1",
        "serving/sarathi",
        "serving/slos-serve",
        "serving/headway",
        "serving/fair",
        "serving/continuum",
    ],
)


def rig_of(policy: str, **setup: Any) -> Rig:
    rig = Rig(HOSTED, price=PRICE, headway={"policy": policy}, **setup)
    watch(rig, policy)
    return rig


def check_ends(rig: Rig) -> None:
    rig.run()
    rig.check_all_ended()
    assert {told.finish for told in rig.told.values()} <= {"stop", "length"}
    hosted: Any = rig.scheduler
    assert hosted.host is not None


@ORDERS
@EACH
def test_a_pause_for_new_requests_lets_the_others_end(policy: str, overlapped: bool) -> None:
    from vllm.v1.core.sched.interface import PauseState

    rig = rig_of(policy, overlapped=overlapped)
    for number in range(4):
        rig.add(f"r{number}", 60, 20)
    rig.step()
    rig.step()
    rig.scheduler.set_pause_state(PauseState.PAUSED_NEW)
    for number in range(4):
        rig.add(f"late{number}", 60, 20)
    rig.run()
    assert all(told.over for told in rig.told.values() if told.id.startswith("r")) or policy == "serving/orca"
    assert not any(told.over for told in rig.told.values() if told.id.startswith("late"))
    rig.clock.move_to(rig.clock.now_s() + 60)
    rig.scheduler.set_pause_state(PauseState.UNPAUSED)
    check_ends(rig)


@ORDERS
@pytest.mark.parametrize("reset", [False, True])
@EACH
def test_everything_is_kept_through_a_sleep(policy: str, reset: bool, overlapped: bool) -> None:
    from vllm.v1.core.sched.interface import PauseState

    rig = rig_of(policy, overlapped=overlapped, caching=True)
    for number in range(6):
        rig.add(f"r{number}", 60, 20)
        rig.step()
    rig.scheduler.set_pause_state(PauseState.PAUSED_ALL)
    rig.add("late", 60, 20)
    rig.run()
    if reset:
        assert rig.scheduler.reset_prefix_cache(reset_running_requests=True)
    rig.clock.move_to(rig.clock.now_s() + 60)
    rig.scheduler.set_pause_state(PauseState.UNPAUSED)
    check_ends(rig)


@ORDERS
@EACH
def test_the_cache_can_be_reset_at_any_time(policy: str, overlapped: bool) -> None:
    rig = rig_of(policy, overlapped=overlapped, caching=True)
    prompt = prompt_of("x", 80)
    for number in range(12):
        rig.add(f"r{number}", prompt, 20, stops_at=7 if number % 3 == 0 else None)
        rig.step()
        rig.step()
        if number % 2:
            assert rig.scheduler.reset_prefix_cache(reset_running_requests=True)
    check_ends(rig)


@ORDERS
@EACH
def test_prompts_that_are_held_back_start_later(policy: str, overlapped: bool) -> None:
    rig = rig_of(policy, overlapped=overlapped, max_batched_tokens=64)
    schedule, calls = rig.scheduler.schedule, [0]

    def throttled(throttle_prefills: bool = False) -> Any:
        calls[0] += 1
        rig.scheduler.prefill_capacity_bound = False
        return schedule(calls[0] % 4 != 0)

    rig.scheduler.schedule = throttled  # type: ignore[method-assign]
    for number in range(10):
        rig.add(f"r{number}", 100, 20)
        rig.step()
    check_ends(rig)


@ORDERS
@EACH
def test_memory_that_vllm_keeps_free_delays_starts(policy: str, overlapped: bool) -> None:
    rig = rig_of(policy, overlapped=overlapped, num_blocks=20, watermark=0.3)
    for number in range(10):
        rig.add(f"r{number}", 60, 20)
        rig.step()
    check_ends(rig)


@ORDERS
def test_grammars_come_late_or_not_at_all(overlapped: bool) -> None:
    from vllm.sampling_params import StructuredOutputsParams

    rig = Rig(HOSTED, price=PRICE, overlapped=overlapped, headway={"policy": "serving/sarathi"})
    hosted: Any = rig.scheduler
    hosted.get_grammar_bitmask = lambda told: None
    hosted.structured_output_manager.accept_tokens = lambda request, tokens: True
    grammars: dict[str, Future[Any]] = {}
    for number in range(6):
        name = f"g{number}"
        rig.add(f"r{number}", 40, 20)
        rig.add(name, 40, 20, sampling={"structured_outputs": StructuredOutputsParams(json_object=True)})
        grammars[name] = rig.requests[name].structured_output_request.grammar = Future()  # type: ignore[union-attr]
        rig.step()
    rig.cancel("g5")
    for number in range(3):
        grammars[f"g{number}"].set_result(object())
        rig.step()
    grammars["g3"].set_exception(ValueError("no such grammar"))
    for _ in range(60):
        rig.step()
    assert [rig.told[name].finish for name in grammars] == ["length"] * 3 + ["error", "", ""]
    grammars["g4"].set_result(object())
    rig.run()
    rig.check_all_ended()
    assert hosted.host is not None
    assert not hosted._compiling
