"""What becomes of a request on its way in, and of a policy that does not suit the engine."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from engines.llm.loop.fakes import EOS, FakeFacts, submit
from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.engines.llm.assembly import build_policy
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.loop.hashing import BlockHasher
from headway.engines.llm.loop.intake import Intake
from headway.engines.llm.messages import Submit


def intake(kv_tokens: int = 1000, seed: int = 0) -> Intake:
    return Intake(FakeFacts(), kv_tokens, BlockHasher(4), {"interactive": 7}, seed)  # type: ignore[arg-type]


def test_a_request_is_told_to_the_scheduler_without_its_secrets() -> None:
    asked = msgspec.structs.replace(
        submit("a", range(3, 12), max_tokens=10), slo_class="interactive", tenant="me", ttft_s=0.5, deadline_s=2.0
    )
    request = intake().take(asked, 10.0).request
    assert (request.prompt_tokens, request.max_tokens, len(request.hashes)) == (9, 10, 2)
    assert (request.priority, request.tenant, request.slo_class) == (7, "me", "interactive")
    assert (request.arrival_s, request.ttft_s, request.tpot_s, request.deadline_s) == (10.0, 0.5, None, 12.0)


@pytest.mark.parametrize(
    ("session", "tool", "calls"), [("s", None, "tool"), ("s", "bash", "bash"), ("s", "", ""), ("", None, "")]
)
def test_a_session_goes_on_unless_its_sender_says_not(session: str, tool: str | None, calls: str) -> None:
    asked = msgspec.structs.replace(submit("a", [5]), session=session, tool=tool, stage="revise")
    live = intake().take(asked, 0.0)
    assert (live.request.session, live.request.stage, live.submit.calls) == (session, "revise", calls)


def test_a_priority_of_its_own_comes_before_that_of_its_class() -> None:
    asked = msgspec.structs.replace(submit("a", [5]), slo_class="interactive", priority=-3)
    assert intake().take(asked, 0.0).request.priority == -3


@pytest.mark.parametrize(("kv_tokens", "room"), [(1000, 54), (32, 22)])
def test_output_ends_where_context_or_memory_does(kv_tokens: int, room: int) -> None:
    assert intake(kv_tokens).take(submit("a", [5] * 10, max_tokens=500), 0.0).request.max_tokens == room


def test_ends_are_the_models_own_and_those_asked_for() -> None:
    assert intake().take(submit("a", [5], stop_token_ids=(8, 9)), 0.0).stop_ids == {EOS, 8, 9}
    assert intake().take(submit("a", [5], stop_token_ids=(8,), ignore_eos=True), 0.0).stop_ids == {8}


def test_requests_without_a_seed_differ_and_a_run_can_be_repeated() -> None:
    def numbers(asked: list[Submit], seed: int) -> list[float]:
        door = intake(seed=seed)
        recipes = [door.take(request, 0.0).recipe for request in asked]
        return [recipe.random.random() for recipe in recipes if recipe is not None]

    asked = [submit(name, [5], temperature=1.0) for name in "abc"]
    assert len(set(numbers(asked, 0))) == 3
    assert numbers(asked, 0) == numbers(asked, 0) != numbers(asked, 1)
    seeded = [submit(name, [5], temperature=1.0, seed=4) for name in "abc"]
    assert len(set(numbers(seeded, 0))) == 1
    assert numbers(seeded, 0) == numbers(seeded, 1)


def test_a_policy_that_needs_more_than_the_engine_can_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    row = msgspec.structs.replace(catalogue.find("serving/orca"), needs=("swap", "repeat"))
    monkeypatch.setattr(catalogue, "find", lambda id: row)
    with pytest.raises(
        ConfigError, match=r"an engine that offers swap; this one offers lanes, layer_ranges, repeat, share"
    ):
        build_policy(EngineConfig(model="any", policy="serving/orca"))


@pytest.mark.parametrize("told", [{"tuner": "tuning/dedicated"}, {"policy": "tuning/dedicated"}])
def test_a_tuner_with_instances_of_its_own_is_refused_where_there_is_one(told: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="tuning/dedicated sets instances apart"):
        build_policy(EngineConfig(model="any", **told))


@pytest.mark.parametrize(
    ("policy", "params"),
    [
        ("serving/oracle", {}),
        ("serving/castillo", {"kind": "noisy"}),
        ("serving/stack", {"predict": {"id": "serving/castillo", "kind": "oracle"}}),
        ("serving/stack", {"order": "serving/shortest-first", "predict": {"id": "serving/castillo", "kind": "bucket"}}),
    ],
)
def test_who_must_know_the_truth_is_refused_where_nobody_does(policy: str, params: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"policy {policy} must do without the true lengths"):
        build_policy(EngineConfig(model="any", policy=policy, policy_params=params))


@pytest.mark.parametrize("kind", ["quantile", "learned", "none"])
def test_predictors_that_learn_are_served(kind: str) -> None:
    params = {"predict": {"id": "serving/castillo", "kind": kind}}
    assert build_policy(EngineConfig(model="any", policy="serving/stack", policy_params=params))
