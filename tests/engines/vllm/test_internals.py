"""What is used of vLLM's internals is all there, all of it is listed, and whatever is gone is named."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from vllm.v1.core.sched.async_scheduler import AsyncScheduler

from engines.vllm.rig import ASYNC, HOSTED, Rig
from headway.core.errors import ConfigError
from headway.engines.vllm import arrivals
from headway.engines.vllm import scheduler as hosted
from headway.engines.vllm.internals import (
    ATTRIBUTES,
    METHODS,
    POOL,
    REQUEST,
    check_attributes,
    check_methods,
    gone_from,
)
from headway.engines.vllm.scheduler import HeadwayScheduler


def test_every_method_is_there_and_takes_what_is_expected() -> None:
    gone = gone_from(AsyncScheduler)
    assert not gone, f"vLLM's scheduler has changed: {', '.join(gone)}. See headway.engines.vllm.internals."


def test_every_attribute_is_there() -> None:
    rig = Rig(ASYNC)
    gone = [name for name in ATTRIBUTES if not hasattr(rig.scheduler, name)]
    assert not gone, f"vLLM's scheduler has no more: {', '.join(gone)}. See headway.engines.vllm.internals."


def test_a_request_has_all_that_is_read_of_it() -> None:
    rig = Rig(ASYNC)
    rig.add("r", 40)
    gone = [name for name in REQUEST if not hasattr(rig.requests["r"], name)]
    assert not gone, f"vLLM's requests have no more: {', '.join(gone)}. See headway.engines.vllm.internals."


def test_all_that_is_used_is_listed() -> None:
    used = _used_of(hosted, "self", "super()", "scheduler", "Scheduler")
    mine = {name for name, value in vars(HeadwayScheduler).items() if inspect.isfunction(value)} | _set_on_self()
    theirs = {name for name in used | mine if hasattr(AsyncScheduler, name) or name not in mine} - {"host"}
    assert not theirs - METHODS.keys() - set(ATTRIBUTES), "used of vLLM's scheduler, and not in the list of internals"
    of_requests = _used_of(hosted, "request", "living") | _used_of(arrivals, "request")
    assert not of_requests - set(REQUEST), "used of vLLM's requests, and not in the list of internals"
    assert not _used_of(hosted, "pool", "self.kv_cache_manager.block_pool") - POOL.keys()


def _used_of(module: ModuleType, *owners: str) -> set[str]:
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) in owners}


def _set_on_self() -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(inspect.getsource(hosted))) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"}


def test_a_method_that_is_gone_is_named() -> None:
    class Changed(AsyncScheduler):
        _reserve_prefill_lookahead = None

        def _preempt_request(self, request: Any) -> None: ...

    assert gone_from(Changed) == ["_preempt_request(request)", "_reserve_prefill_lookahead"]
    with pytest.raises(ConfigError, match=r"9\.9 .*_preempt_request\(request\), _reserve_prefill_lookahead\."):
        check_methods(Changed, "9.9")


def test_an_attribute_that_is_gone_is_named() -> None:
    scheduler: Any = Rig(ASYNC).scheduler
    del scheduler.deferred_waiting
    with pytest.raises(ConfigError, match=r"9\.9 .* with deferred_waiting"):
        check_attributes(scheduler, "9.9")


def test_a_method_of_the_pool_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler: Any = Rig(ASYNC).scheduler
    monkeypatch.setattr(type(scheduler.kv_cache_manager.block_pool), "touch", lambda self, block, owner: None)
    with pytest.raises(ConfigError, match=r"9\.9 .* with kv_cache_manager\.block_pool\.touch\(block, owner\)"):
        check_attributes(scheduler, "9.9")


def test_the_scheduler_looks_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vllm.__version__", "0.33.1")
    with pytest.raises(ConfigError, match=r"must be a release from 0\.32 and below 0\.33"):
        Rig(HOSTED, headway={})
    monkeypatch.undo()
    monkeypatch.delattr(AsyncScheduler, "_update_after_schedule")
    monkeypatch.setattr(AsyncScheduler.__mro__[1], "_update_after_schedule", None)
    with pytest.raises(ConfigError, match="_update_after_schedule"):
        Rig(HOSTED, headway={})


@pytest.mark.parametrize(
    ("policy", "lacks"), [("serving/layered-prefill", "layer_ranges"), ("serving/infinite-llm", "lend")]
)
def test_a_policy_that_needs_what_vllm_cannot_do_is_refused_in_one_sentence(policy: str, lacks: str) -> None:
    with pytest.raises(ConfigError, match=f"^vllm: policy {policy} .*{lacks}.*, and vLLM does not") as told:
        Rig(HOSTED, headway={"policy": policy})
    assert "\n" not in str(told.value)
