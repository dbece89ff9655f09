"""What vLLM can do beside plain text: each request ends, and vLLM lives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from engines.vllm.books import watch
from engines.vllm.rig import HOSTED, Rig, prompt_of
from engines.vllm.twins import PRICE
from headway.core.errors import ConfigError
from headway.core.trace import read_header, read_trace
from headway.engines.vllm.asks import read_rejection
from headway.policies.serving.nouns import Request

ORDERS = pytest.mark.parametrize("overlapped", [False, True])


def rig_of(policy: str = "serving/sarathi", *, headway: dict[str, Any] | None = None, **setup: Any) -> Rig:
    return Rig(HOSTED, price=PRICE, headway={"policy": policy, **(headway or {})}, **setup)


def state_of(rig: Rig, id: str) -> Any:
    """Return what the books know of a request."""
    host: Any = rig.scheduler
    return host.host.board.requests[id]


def work_of(rig: Rig, id: str) -> Request:
    """Step once, and return what policies know of a request."""
    rig.step()
    found: Request = state_of(rig, id).request
    return found


@ORDERS
@pytest.mark.parametrize("policy", ["serving/vllm", "serving/sarathi", "serving/headway"])
def test_no_more_adapters_are_in_use_than_vllm_can_take(policy: str, overlapped: bool) -> None:
    from vllm.lora.request import LoRARequest

    rig = rig_of(policy, overlapped=overlapped, enable_lora=True, max_loras=2)
    watch(rig, policy)
    for number in range(12):
        adapter = LoRARequest(f"l{number % 4}", 1 + number % 4, "nowhere") if number % 5 else None
        rig.add(f"r{number}", 40, 30, lora_request=adapter)
        rig.step()
    rig.run()
    rig.check_all_ended()


def test_a_name_given_anew_is_another_adapter() -> None:
    from vllm.lora.request import LoRARequest

    rig = rig_of(enable_lora=True, max_loras=1)
    for number in (1, 2):
        rig.add(f"r{number}", 40, 20, lora_request=LoRARequest("same", number, "nowhere"))
        rig.step()
    rig.run()
    rig.check_all_ended()


def test_a_session_of_streamed_input_is_turned_away_however_often_it_comes() -> None:
    rig = rig_of()
    rig.add("s", 40, 5, resumable=True)
    rig.add("t", 40, 5, resumable=True)
    told = rig.told["s"]
    rig.add("s", 40, 5, resumable=True)  # its next piece, before it is known to be turned away
    rig.told["s"] = told
    outputs: list[Any] = []
    update = rig.scheduler.update_from_output
    rig.scheduler.update_from_output = lambda *given: outputs.append(update(*given)) or {}  # type: ignore[func-returns-value,method-assign]
    rig.run()
    ends = [item for found in outputs for each in found.values() for item in each.outputs]
    assert [item.request_id for item in ends] == ["s", "t", "s"]
    assert all(read_rejection(item.stop_reason) is not None for item in ends)
    assert not rig.scheduler.requests


@ORDERS
def test_who_may_not_read_the_cache_is_not_taken_to_find_anything(overlapped: bool) -> None:
    rig = rig_of(overlapped=overlapped, caching=True)
    watch(rig, "serving/sarathi")
    prompt = prompt_of("x", 90)
    rig.add("a", prompt, 5)
    rig.run()
    before = rig.model.num_steps
    rig.add("b", prompt, 5, sampling={"prompt_logprobs": 1})
    rig.run()
    assert rig.model.num_steps - before == 5
    rig.add("c", prompt, 5)
    rig.step()
    assert state_of(rig, "c").cached_tokens == 80
    rig.run()
    rig.check_all_ended()


@pytest.mark.parametrize(
    ("xargs", "priority", "expected"),
    [
        ({}, 0, 0),
        ({}, 3, -3),
        ({"headway_slo_class": "batch"}, 0, -1),
        ({"headway_slo_class": "batch"}, -2, 2),
        ({"headway_slo_class": "batch", "headway_priority": 0}, 0, 0),
        ({"headway_priority": 5}, 3, 5),
    ],
)
def test_who_says_how_important_a_request_is(xargs: dict[str, Any], priority: int, expected: int) -> None:
    rig = rig_of()
    rig.add("r", 20, 5, priority=priority, xargs=xargs)
    assert work_of(rig, "r").priority == expected


def test_a_class_that_nobody_knows_is_the_default() -> None:
    rig = rig_of()
    rig.add("r", 20, 5, xargs={"headway_slo_class": "golden"})
    assert work_of(rig, "r").slo_class == "default"


def test_whoever_is_turned_away_has_not_waited_since_ever_in_vllms_metrics() -> None:
    from vllm.v1.engine import EngineCoreEventType

    rig = rig_of(num_blocks=4, context_tokens=200)
    heard: list[Any] = []
    hear = rig._hear
    rig._hear = lambda item: (heard.append(item), hear(item))[1]  # type: ignore[method-assign,func-returns-value]
    rig.add("r", 150, 40)
    rig.run()
    assert read_rejection(heard[0].stop_reason) is not None
    assert [event.type for event in heard[0].events] == [EngineCoreEventType.QUEUED, EngineCoreEventType.SCHEDULED]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_ends_the_trace_alone(caplog: pytest.LogCaptureFixture) -> None:
    rig = rig_of(headway={"trace": "/dev/full"})
    for number in range(20):
        rig.add(f"r{number}", 40, 20)
    rig.run()
    rig.check_all_ended()
    hosted: Any = rig.scheduler
    assert hosted.host is not None
    rig.scheduler.shutdown()
    assert caplog.text.count("cannot be written") == 1


def test_a_trace_that_cannot_be_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trace must be a file that can be written, got .*No such file or directory"):
        rig_of(headway={"trace": str(tmp_path / "no" / "t.jsonl")})


def test_engines_side_by_side_write_a_trace_each(tmp_path: Path) -> None:
    from headway.engines.vllm.facts import Facts
    from headway.engines.vllm.recording import record
    from headway.engines.vllm.settings import Settings

    for index in range(3):
        facts = Facts(model="m", version="0.32", num_layers=1, num_blocks=1, block_size=1, caching=False, max_seqs=1,
                      max_tokens=1, index=index)  # fmt: skip
        recording = record(Settings(trace=str(tmp_path / "t.jsonl")), facts)
        assert recording is not None
        recording.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["t.1.jsonl", "t.2.jsonl", "t.jsonl"]
    assert read_header(tmp_path / "t.1.jsonl").facts["engine"] == "vllm 0.32"
    assert not list(read_trace(tmp_path / "t.2.jsonl"))
