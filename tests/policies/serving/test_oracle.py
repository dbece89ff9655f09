from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from headway.core import catalogue
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.session import Session
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.castillo import Castillo
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request
from headway.policies.serving.oracle import Oracle
from headway.policies.serving.oracle_plan import Prompt, first_due_s, last_due_s, longest_step_s, timely
from headway.policies.serving.promises import Promise
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.bound.scenario import best_possible
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.small import small_world
from headway.traces.generate.lengths import LogNormal
from headway.traces.spec import TraceSpec


def state(id: str = "r", *, at_s: float = 0.0, prompt: int = 100, most: int = 500, **promise: float) -> RequestState:
    return RequestState(Request(id=id, arrival_s=at_s, prompt_tokens=prompt, max_tokens=most), Promise(**promise))


def test_first_tokens_are_due_by_their_own_bound_and_by_that_of_the_whole() -> None:
    assert first_due_s(state(at_s=2.0, ttft_s=1.0), 50, 0.1) == 3.0
    assert first_due_s(state(at_s=2.0, ttft_s=9.0, e2e_s=5.0), 11, 0.1) == 6.0
    assert first_due_s(state(), 50, 0.1) == math.inf


def test_last_tokens_are_due_so_many_gaps_after_the_first() -> None:
    found = state(tpot_s=0.1)
    assert last_due_s(found, 11) == math.inf
    found.give(5.0)
    assert last_due_s(found, 11) == 6.0


def test_steps_are_as_long_as_those_allow_that_can_still_be_in_time() -> None:
    soon, late, lost = state("soon", tpot_s=0.1), state("late", tpot_s=0.2), state("lost", tpot_s=0.01)
    for one in (soon, late, lost):
        one.give(1.0)
    tokens = {"soon": 11, "late": 101, "lost": 11}
    longest_s = longest_step_s([soon, late, lost], lambda one: tokens[one.id], 0.03, 1.2)
    assert longest_s == pytest.approx((2.0 - 1.2) / 10)


def prompts(*all_: tuple[str, int, float]) -> list[Prompt]:
    return [Prompt(state(name), left, due_s, left) for name, left, due_s in all_]


def test_the_most_prompts_are_in_time() -> None:
    """At 100 tokens per second the first three come to 4.2 s, so the longest of them goes; then all the others fit."""
    soon, late = timely(prompts(("a", 300, 3.5), ("b", 100, 4.0), ("c", 20, 4.1), ("d", 100, 5.0)), 100.0, 0.0)
    assert [one.state.id for one in soon] == ["b", "c", "d"]
    assert [one.state.id for one in late] == ["a"]


def test_who_is_promised_nothing_comes_after_who_is() -> None:
    soon, late = timely(prompts(("any", 100, math.inf), ("now", 100, 2.0)), 100.0, 0.0)
    assert [one.state.id for one in soon] == ["now", "any"]
    assert not late


def form(oracle: Oracle, instance: InstanceState) -> list[tuple[str, int]]:
    step = oracle.form(instance, InstanceDraft(instance), 0.0)
    return [] if step is None else [(piece.request, piece.tokens) for piece in step.pieces]


def waiting(*states: RequestState, num_blocks: int = 1000) -> InstanceState:
    instance = InstanceState("gpu", BlockPool(num_blocks), num_layers=2)
    for one in states:
        instance.waiting[one.id] = one
    return instance


def test_true_lengths_say_who_fits_into_memory() -> None:
    oracle = Oracle()
    states = [state(name, prompt=160, most=5000) for name in "abc"]
    oracle.foretell({"a": 160, "b": 400, "c": 160}.__getitem__)
    assert {name for name, _ in form(oracle, waiting(*states, num_blocks=45))} == {"a", "c"}
    assert len(form(Oracle(), waiting(*states, num_blocks=45))) == 1  # it knows only what was asked for


def test_a_stack_without_the_truth_takes_its_predictor() -> None:
    oracle, predict = Oracle(), Castillo(num_least=1)
    Stack(batch=oracle, route=oracle, predict=predict).reset(np.random.default_rng(0))
    predict.learn(Request(id="x", arrival_s=0.0, prompt_tokens=1, max_tokens=5000), 100)
    states = [state(name, prompt=160, most=5000) for name in "abc"]
    assert len(form(oracle, waiting(*states, num_blocks=60))) == 3


def test_requests_go_where_least_work_is_left() -> None:
    board = ServingBoard([InstanceState(name, BlockPool(500), num_layers=2) for name in "ab"], frozenset())
    one, two = board.instances["a"], board.instances["b"]
    one.waiting["x"] = state("x", prompt=10)
    two.waiting["y"] = state("y", prompt=500)
    two.waiting["z"] = state("z", prompt=10)
    oracle = Oracle()
    oracle.foretell({"x": 400, "y": 10, "z": 10, "new": 5}.__getitem__)
    assert oracle.pick(state("new"), board) == "b"


def overloaded(rate_per_s: float) -> ServingScenario:
    lengths = LogNormal(prompt_median=800, prompt_sigma=0.8, output_median=60, output_sigma=0.8, max_tokens=8000)
    return ServingScenario(
        trace=TraceSpec(lengths=lengths, num_requests=200, rate_per_s=rate_per_s),
        model=ModelSpec(name="llama-3-8b"),
        fleet=(FleetSpec(),),
        slo=(SloSpec(ttft_s=0.5, tpot_s=0.04),),
    )


def test_it_is_between_those_who_guess_and_the_best_possible() -> None:
    shares = {}
    for id_ in ("serving/oracle", "serving/sarathi", "serving/vllm"):
        numbers = overloaded(16.0).play(catalogue.build(id_), seed=0).report.numbers
        shares[id_] = numbers["goodput_frac"]
    bound = best_possible(overloaded(16.0), seed=0).good_frac
    assert shares["serving/oracle"] > 1.2 * max(shares["serving/sarathi"], shares["serving/vllm"])
    assert 0.7 * bound < shares["serving/oracle"] <= bound


def test_a_copy_after_a_run_decides_the_same() -> None:
    def play(policy: Stack) -> float:
        world, accounts = small_world(3)
        return simulate(world, policy, session=Session(policy, world.view, seed=3, accounts=accounts)).duration_s

    policy = catalogue.build("serving/oracle")
    first = play(policy)
    assert play(pickle.loads(pickle.dumps(policy))) == first


def test_parameters_out_of_range_are_errors() -> None:
    with pytest.raises(ConfigError, match="most_tokens must be >= 1"):
        Oracle(most_tokens=0)
