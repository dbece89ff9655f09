from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.hexgen_text2sql import HexGenText2Sql
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.spec import TraceSpec

TIMES_S = {"fast": {"plan": 1.0, "work": 4.0}, "slow": {"plan": 3.0, "work": 12.0}}


def board(*pools: str) -> ServingBoard:
    return ServingBoard([InstanceState(f"{p}{n}", BlockPool(64), num_layers=2, pool=p) for n, p in enumerate(pools)])


def seat(**params: Any) -> HexGenText2Sql:
    made = HexGenText2Sql(**{"times_s": TIMES_S, "tune_every_s": 0.0, **params})
    made.reset(np.random.default_rng(0))
    return made


def arrive(
    part: HexGenText2Sql, view: ServingBoard, id: str, at_s: float, stage: str, session: str = "", due_s: float = 20.0
) -> None:
    request = Request(
        id=id, arrival_s=at_s, prompt_tokens=20, max_tokens=4, session=session, stage=stage, deadline_s=at_s + due_s
    )
    view.now_s = at_s
    view.add(request)
    list(part.steer(RequestArrived(at_s=at_s, work=request), view))


def finish(part: HexGenText2Sql, view: ServingBoard, id: str, at_s: float, tool: str = "") -> None:
    view.now_s = at_s
    list(part.steer(view.finish(id, "stop", at_s, tool), view))


def test_one_is_the_fastest_and_zero_the_emptiest_instance() -> None:
    view = board("fast", "slow")
    for alpha, wanted in ((1.0, "fast0"), (0.0, "slow1")):
        part = seat(alpha=alpha)
        arrive(part, view, f"first{alpha}", 0.0, "work")
        assert part.pick(view.requests[f"first{alpha}"], view) == "fast0"
        view.instances["fast0"].waiting["x"] = view.requests[f"first{alpha}"]
        arrive(part, view, f"second{alpha}", 0.0, "work")
        assert part.pick(view.requests[f"second{alpha}"], view) == wanted


def test_the_released_score_weighs_all_that_an_instance_was_ever_given() -> None:
    view, part = board("fast", "slow"), seat(alpha=0.3, dispatch="lifetime")
    picked = []
    for number in range(7):
        arrive(part, view, f"r{number}", float(number), "plan")
        picked.append(part.pick(view.requests[f"r{number}"], view))
        finish(part, view, f"r{number}", number + 0.5)  # nothing is queued, and still it counts
    # 0.3 - 0.7 against 0.1 - 0.7 slow / fast: the slow one has a turn when it was given less than 5/7 of the other.
    assert picked == ["fast0", "slow1", "fast0", "fast0", "fast0", "fast0", "slow1"]


def test_the_budget_is_a_share_of_what_is_left_of_the_promise() -> None:
    view, part = board("fast", "slow"), seat(workflow=("plan", "work", "work"))
    arrive(part, view, "a", 0.0, "plan", "q", due_s=36.0)
    here = view.instances["fast0"]
    # On average plan takes 2 s and work 8 s: 36 x 2 / 18 = 4 s for the plan.
    assert part.urgency_s(view.requests["a"], here, 0.0) == pytest.approx(1.0 - 4.0)
    assert part.urgency_s(view.requests["a"], here, 3.0) == pytest.approx(1.0 - 1.0)
    finish(part, view, "a", 6.0, tool="next")
    arrive(part, view, "b", 6.0, "work", "q", due_s=30.0)
    assert part.urgency_s(view.requests["b"], here, 6.0) == pytest.approx(4.0 - 30.0 * 8 / 16)
    finish(part, view, "b", 10.0, tool="next")
    arrive(part, view, "c", 10.0, "work", "q", due_s=26.0)
    assert part.urgency_s(view.requests["c"], here, 10.0) == pytest.approx(4.0 - 26.0)


def test_the_most_urgent_starts_first_or_whoever_came_first() -> None:
    for order, wanted in (("urgency", ["late", "lax"]), ("arrival", ["lax", "late"])):
        view, part = board("fast"), seat(order=order)
        arrive(part, view, "lax", 0.0, "work", due_s=100.0)
        arrive(part, view, "late", 1.0, "work", due_s=5.0)
        for name in ("lax", "late"):
            view.instances["fast0"].waiting[name] = view.requests[name]
        assert [state.id for state in part.queue(view.instances["fast0"], 2.0)] == wanted


def test_times_and_course_are_learnt_from_what_ends() -> None:
    def call(id: str, at_s: float, stage: str, session: str, output: int, tool: str) -> TrueRequest:
        request = Request(
            id=id, arrival_s=at_s, prompt_tokens=10, max_tokens=99, session=session, stage=stage, deadline_s=at_s + 90
        )
        return TrueRequest(request=request, output_tokens=output, tool=tool)

    requests = [
        one
        for number in range(6)
        for one in (
            call(f"{number}a", 10.0 * number, "plan", f"q{number}", 10, "next"),
            call(f"{number}b", 10.0 * number + 5, "work", f"q{number}", 40, ""),
        )
    ]
    price = {"quick": LinearPrice(fixed_s=0.01), "lazy": LinearPrice(fixed_s=0.05)}
    states = [InstanceState(name, BlockPool(64), num_layers=2, pool=name) for name in price]
    part = HexGenText2Sql(alpha=0.0)
    world = ServingWorld(requests, states, price)
    policy = Stack(batch=SarathiServe(), route=part, order=part)
    trace = MemoryTrace(10_000)
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    ends = {record.id: record for record in trace.records if isinstance(record, RequestFinished)}
    assert part.course.left(["plan"]) == {"work": 1.0}
    assert part.times.of("work", "quick") == pytest.approx(4 * part.times.of("plan", "quick"), rel=0.2)
    assert part.times.of("plan", "quick") == pytest.approx(ends["0a"].e2e_s, rel=0.05)


def fleet() -> tuple[FleetSpec, ...]:
    pools: Sequence[tuple[str, int]] = (("a100-80gb-sxm", 2), ("a40", 1))
    return tuple(FleetSpec(pool=name, accelerator=name, instances=num) for name, num in pools)


@pytest.mark.parametrize("rate_per_s", [0.6])
def test_more_workflows_are_in_time_than_round_robin_and_alpha_is_tuned(rate_per_s: float) -> None:
    trace = TraceSpec(sessions="text2sql-1", num_sessions=40, rate_per_s=rate_per_s, due_s=30.0)
    scenario = ServingScenario(trace=trace, model=ModelSpec(name="llama-3.1-8b", max_tokens=2048), fleet=fleet())
    part = HexGenText2Sql(alpha=1.0, tune_every_s=10.0)
    ours = scenario.play(Stack(batch=SarathiServe(token_budget=2048), route=part, order=part)).report
    plain = scenario.play(Stack(batch=SarathiServe(token_budget=2048), route=InTurn())).report
    assert part.alpha_now < 1.0
    assert ours.numbers["p95_jct_s"] < plain.numbers["p95_jct_s"]
    assert not ours.num_refused


class InTurn:
    """Sends requests round robin."""

    def reset(self, rng: np.random.Generator) -> None:
        self.num = 0

    def pick(self, state: Any, view: Any) -> str:
        self.num += 1
        return list(view.instances)[self.num % len(view.instances)]


@pytest.mark.parametrize(
    "bad", [{"alpha": 1.5}, {"tune_every_s": -1.0}, {"replay_queries": 0}, {"dispatch": "x"}, {"order": "x"}]
)
def test_parameters_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="serving/hexgen-text2sql"):
        HexGenText2Sql(**bad)
