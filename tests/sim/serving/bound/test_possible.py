"""No policy beats the bound: neither the best of all schedules of tiny instances, nor any policy of the catalogue."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core import catalogue
from headway.core.nouns import Slo
from headway.core.slo import SloClass
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.sim.serving.bound.lines import lines_below
from headway.sim.serving.bound.possible import Possible, most_good
from headway.sim.serving.bound.scenario import best_possible
from headway.sim.serving.bound.work import Instances, promises_of, work_of
from headway.sim.serving.cost.overlap import OverlapSpec
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.recipe import FleetSpec, ModelSpec, SloSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.generate.lengths import LogNormal
from headway.traces.spec import TraceSpec
from headway.traces.table import Prefixes, RequestTable
from sim.serving.bound.tiny import Rows, Tiny

PRICE = LinearPrice(fixed_s=1.0, prefill_token_s=0.6, decode_s=0.4, context_token_s=0.05)


def bound(
    rows: Rows, ttft_s: float, tpot_s: float, *, kv_tokens: int = 10**6, num: int = 1, whole: bool = False
) -> Possible:
    arrival, prompt, output = (np.array(column) for column in zip(*rows, strict=True))
    table = RequestTable(arrival.astype(np.float64), prompt, output)
    slos = (Slo("ttft_s", ttft_s), Slo("tpot_s", tpot_s))
    fleet = [Instances(lines_below(PRICE), num, kv_tokens)]
    return most_good(
        table, work_of(table), promises_of(table, [SloClass(name="default", slos=slos)]), fleet, whole=whole
    )


def best_of_all(rows: Rows, ttft_s: float, tpot_s: float, kv_tokens: int = 100) -> int:
    return Tiny(rows, PRICE, ttft_s, tpot_s, kv_tokens).most_good()


one = st.tuples(st.sampled_from([0.0, 1.0, 2.5]), st.integers(1, 3), st.integers(1, 2))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(one, min_size=1, max_size=3),
    ttft_s=st.sampled_from([1.7, 2.5, 4.0, 7.0]),
    tpot_s=st.sampled_from([1.5, 2.0, 3.0]),
    kv_tokens=st.sampled_from([4, 7, 100]),
)
def test_no_schedule_of_a_tiny_instance_beats_it(
    rows: list[tuple[float, int, int]], ttft_s: float, tpot_s: float, kv_tokens: int
) -> None:
    given_rows = tuple(sorted(rows))
    best = best_of_all(given_rows, ttft_s, tpot_s, kv_tokens)
    assert best <= bound(given_rows, ttft_s, tpot_s, kv_tokens=kv_tokens, whole=True).num_good
    assert best <= bound(given_rows, ttft_s, tpot_s, kv_tokens=kv_tokens).num_good


def test_the_best_schedule_and_the_bound_meet_where_prompts_fill_the_time() -> None:
    """Prompts of 3 tokens take 1.95 s each at least, together with others; 6 s hold three of four."""
    rows = ((0.0, 3, 1),) * 4
    assert bound(rows, 6.0, 9.0, whole=True).num_good == 3
    assert best_of_all(rows[:3], 7.0, 9.0) == 3
    assert bound(rows, 6.0, 9.0, num=2).num_good == 4


def test_who_could_not_be_good_alone_is_not_counted() -> None:
    assert bound(((0.0, 3, 1),), 2.9, 9.0).num_good == 0  # 1 + 3 * 0.65
    assert bound(((0.0, 3, 1),), 3.0, 9.0).num_good == 1
    assert bound(((0.0, 3, 3),), 3.0, 1.4).num_good == 0  # a decode takes 1.45 and its context
    assert bound(((0.0, 3, 3),), 3.0, 9.0, kv_tokens=4).num_good == 0  # it comes to 5 tokens in memory


def test_whole_requests_are_the_tighter_bound() -> None:
    rows = ((0.0, 6, 1), (0.0, 6, 1), (0.0, 6, 1))
    relaxed, whole = bound(rows, 11.0, 9.0), bound(rows, 11.0, 9.0, whole=True)
    assert relaxed.num_good >= whole.num_good == 2
    assert relaxed.settled


def test_work_counts_what_nobody_left_in_a_cache() -> None:
    table = RequestTable(
        np.zeros(3), np.array([40, 40, 40]), np.array([5, 5, 5]), prefixes=Prefixes.of(16, [[1, 2], [1, 3], [4, 5]])
    )
    work = work_of(table)
    assert work.prefill_tokens.tolist() == [24, 24, 40]  # either of the first two may come second
    assert work_of(table, caching=False).prefill_tokens.tolist() == [40, 40, 40]
    assert work.num_decodes.tolist() == [4] * 3
    assert work.context_tokens.tolist() == [40 + 41 + 42 + 43] * 3
    assert work.own_tokens.tolist() == [4 * 24 + 1 + 2 + 3 + 4] * 2 + [41 + 42 + 43 + 44]


def test_who_follows_cannot_have_computed_for_who_came_before() -> None:
    table = RequestTable(
        np.zeros(2), np.array([40, 64]), np.array([5, 5]), prefixes=Prefixes.of(16, [[1, 2], [1, 2, 3]]),
        after=np.array([-1, 0]), gap_s=np.zeros(2),
    )  # fmt: skip
    assert work_of(table).prefill_tokens.tolist() == [40, 32]


def test_who_follows_may_never_be_sent() -> None:
    """One first call of two can be good; whoever is turned away takes those that would follow out of the count."""
    rows, after = 6, np.array([-1, -1, 0, 1, 2, 3])
    table = RequestTable(np.zeros(rows), np.full(rows, 3), np.ones(rows, int), after=after, gap_s=np.full(rows, 50.0))
    promises = promises_of(table, [SloClass(name="default", slos=(Slo("ttft_s", 3.5),))])
    found = most_good(table, work_of(table), promises, [Instances(lines_below(PRICE), 1, 1000)])
    assert found.num_good >= 3
    assert 3 / 4 <= found.good_frac <= 1


LENGTHS = LogNormal(prompt_median=400, prompt_sigma=0.8, output_median=40, output_sigma=0.8, max_tokens=4000)
SLO = (SloSpec(ttft_s=0.5, tpot_s=0.03),)


def scenario(rate_per_s: float, **fleet: int) -> ServingScenario:
    return ServingScenario(
        trace=TraceSpec(lengths=LENGTHS, num_requests=60, rate_per_s=rate_per_s),
        model=ModelSpec(name="llama-3-8b"),
        fleet=(FleetSpec(kv_blocks=600, **fleet),),
        slo=SLO,
    )


@pytest.mark.parametrize("id_", [row.id for row in catalogue.rows("serving")])
def test_no_policy_of_the_catalogue_beats_it(id_: str) -> None:
    for rate_per_s in (20.0, 60.0):
        played = scenario(rate_per_s)
        numbers = played.play(catalogue.build(id_), seed=1).report.numbers
        row = catalogue.find(id_)
        found = best_possible(played, seed=1, uses=frozenset(row.needs))
        assert numbers["goodput_frac"] <= found.good_frac + 1e-9
        assert numbers["goodput_frac"] * numbers["num_requests"] <= found.num_good + 1e-6


def test_overload_is_seen_and_more_instances_help() -> None:
    one_, two = best_possible(scenario(150.0), seed=1), best_possible(scenario(150.0, instances=2), seed=1)
    assert one_.good_frac < two.good_frac <= 1
    assert best_possible(scenario(2.0), seed=1).good_frac == 1


def test_the_share_that_is_possible_falls_with_the_load() -> None:
    shares = [best_possible(scenario(30.0), seed=2, load=load).good_frac for load in (1.0, 2.0, 4.0, 8.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < shares[0]


def test_chains_are_held_against_a_policy() -> None:
    trace = TraceSpec(source="agent-sessions", max_requests=60, rate_per_s=8.0)
    played = ServingScenario(trace=trace, model=ModelSpec(name="llama-3-8b", context_tokens=200_000), slo=SLO)
    numbers = played.play(Stack(batch=SarathiServe()), seed=0).report.numbers
    found = best_possible(played, seed=0)
    assert numbers["goodput_frac"] <= found.good_frac <= 1


def test_a_draft_model_makes_more_possible() -> None:
    plain, drafting = scenario(150.0), scenario(150.0)
    drafting.model = ModelSpec(name="llama-3-8b", acceptance_frac=0.8)
    most = best_possible(drafting, seed=1).good_frac
    assert best_possible(plain, seed=1).good_frac <= most < 1
    policy = catalogue.build("serving/slos-serve")
    assert drafting.play(policy, seed=1).report.numbers["goodput_frac"] <= most


def test_what_policies_use_makes_more_possible() -> None:
    plain = best_possible(scenario(150.0), seed=1).good_frac
    for uses in ("lanes", "lend"):
        assert plain <= best_possible(scenario(150.0), seed=1, uses=frozenset({uses})).good_frac <= 1


def test_of_operations_side_by_side_nothing_is_known() -> None:
    played = scenario(150.0)
    played.fleet = (FleetSpec(kv_blocks=600, overlap=OverlapSpec()),)
    assert best_possible(played, seed=1).good_frac == 1
