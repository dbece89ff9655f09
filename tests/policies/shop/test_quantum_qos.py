"""Quantum networks: what becomes of pairs, protocols in slots, tables that can be followed, promises that are kept."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Action, Reject
from headway.core.errors import ConfigError
from headway.core.events import Arrived
from headway.core.nouns import Resource
from headway.policies.shop.quantum_block import block
from headway.policies.shop.quantum_board import QuantumBoard
from headway.policies.shop.quantum_budget import parts_of, peaks_of, preempted
from headway.policies.shop.quantum_clairvoyant import clairvoyant
from headway.policies.shop.quantum_links import settings as fibre_settings
from headway.policies.shop.quantum_nouns import Demand, Entry, Piece, Protocol, Serve, Table
from headway.policies.shop.quantum_paths import shortest
from headway.policies.shop.quantum_qos import QuantumQos
from headway.policies.shop.quantum_runs import Run, all_runs, period_of
from headway.policies.shop.quantum_schedulers import SCHEDULERS, inserted, whole_block
from headway.policies.shop.quantum_search import Tree, search
from headway.policies.shop.quantum_tables import faults, quality, rows_of
from headway.policies.shop.quantum_werner import distilled, pumped, swapped, unpumped, unswapped
from headway.sim.shop.quantum_networks import (
    NETWORKS,
    Network,
    all_pairs,
    apart,
    demands,
    h_shape,
    line,
    network,
    surfnet,
)
from policies.shop.quantum_inputs import demand, direct, fibre

FIDELITIES = st.floats(0.5, 1.0)


def board(net: Network) -> QuantumBoard:
    return QuantumBoard(net.nodes(), net.fibres)


def admitted(net: Network, wants: list[Demand], scheduler: str = "rcpsp-np-edf") -> tuple[QuantumBoard, list[Action]]:
    view, policy, actions = board(net), QuantumQos(scheduler=scheduler), list[Action]()  # type: ignore[arg-type]
    policy.reset(np.random.default_rng(0))
    for one in wants:
        view.add(one)
        for action in policy.decide(Arrived(at_s=0.0, work=one), view):
            why = view.apply(action)
            assert why is None, why
            actions.append(action)
    return view, actions


# Pairs ------------------------------------------------------------------------------------------------------------


@given(FIDELITIES, FIDELITIES)
def test_a_swap_never_betters_and_perfect_pairs_cost_nothing(one: float, other: float) -> None:
    assert swapped(one, other) <= min(one, other) + 1e-9
    assert swapped(one, 1.0) == pytest.approx(one)
    assert swapped(one, 0.25) == pytest.approx(0.25)
    assert swapped(one, other) == swapped(other, one)


@given(st.floats(0.25, 1.0))
def test_a_swap_can_be_asked_for_backwards(fidelity: float) -> None:
    before = unswapped(fidelity)
    assert swapped(before, before) == pytest.approx(fidelity)


@given(st.floats(0.51, 0.999))
def test_distillation_betters_equal_pairs(fidelity: float) -> None:
    after, success = distilled(fidelity, fidelity)
    assert fidelity < after <= 1
    assert 0.5 < success <= 1


def test_distillation_is_that_of_the_formula() -> None:
    # Two pairs of 3/4: 9/16 + 1/144 over 9/16 + 2 * 3/48 + 5/144.
    assert distilled(0.75, 0.75)[0] == pytest.approx((81 + 1) / (81 + 18 + 5))


@given(st.floats(0.6, 0.95), st.integers(0, 4))
def test_pumping_can_be_asked_for_backwards(fidelity: float, times: int) -> None:
    before = unpumped(fidelity, times)
    assert before is not None
    assert fidelity <= pumped(before, times) < fidelity + 1e-6


def test_fibres_do_what_is_published_and_less_when_longer() -> None:
    for km, (slow, fast) in {5.0: (14.16, 75.65), 10.0: (7.79, 37.79), 50.0: (1.66, 8.63)}.items():
        known = fibre_settings(km)
        assert len(known) == 10
        assert (known[0].fidelity, known[-1].fidelity) == pytest.approx((0.877, 0.488))
        assert (known[0].rate_per_s, known[-1].rate_per_s) == pytest.approx((slow, fast))
    rates = [fibre_settings(km)[0].rate_per_s for km in (2.0, 5.0, 7.0, 10.0, 30.0, 50.0, 80.0)]
    assert rates == sorted(rates, reverse=True)
    with pytest.raises(ConfigError, match="length_km must be > 0"):
        fibre_settings(0.0)


# Protocols --------------------------------------------------------------------------------------------------------


def check_block(found: Protocol, num_qubits: int = 4) -> None:
    """Nothing is used before it is made, nor twice at a time."""
    for op in found.ops:
        for one in op.inputs:
            assert found.ops[one].end <= op.start
    making = [op for op in found.ops if op.kind == "generate"]
    for op in making:
        for other in making:
            if op is not other and set(op.at) & set(other.at):
                assert op.end <= other.start or other.end <= op.start
    for hold in found.holds:
        level = sum(one.node == hold.node and one.start <= hold.start < one.end for one in found.holds)
        assert level <= num_qubits
    assert min(op.start for op in found.ops) == 0
    assert found.cuts[0] == 0
    assert found.cuts[-1] == found.num_slots


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(2.0, 30.0), min_size=1, max_size=5),
    st.floats(0.5, 0.9),
    st.floats(0.1, 3.0),
)
def test_what_is_found_is_good_enough_and_fits_the_qubits(kms: list[float], fidelity: float, rate: float) -> None:
    path = tuple(f"n{place}" for place in range(len(kms) + 1))
    tree = search(path, tuple(kms), fidelity, rate)
    if tree is None:
        return
    assert tree.fidelity >= fidelity - 1e-9
    assert tree.rate_per_s >= rate
    found = block(tree, 0.01)
    if found is not None:
        check_block(found)
        assert found.fidelity == tree.fidelity
        assert set(found.ends()) == {path[0], path[-1]}
        assert 0 < found.success <= 1


def test_better_pairs_take_longer() -> None:
    lengths = []
    for fidelity in (0.55, 0.7, 0.85):
        tree = search(("a", "r", "b"), (5.0, 5.0), fidelity, 0.5)
        assert tree is not None
        found = block(tree, 0.01)
        assert found is not None
        lengths.append(found.num_slots)
    assert lengths == sorted(lengths)
    assert lengths[-1] > 4 * lengths[0]


def test_what_nobody_can_reach_is_not_promised() -> None:
    assert search(("a", "r", "b"), (5.0, 5.0), 0.999, 0.1) is None
    assert search(("a", "b"), (5.0,), 0.6, 1000.0) is None


def test_pairs_are_made_late_and_swapped_at_once() -> None:
    tree = Tree("swap", ("r",), (fibre("a", "r", 4), fibre("r", "b", 8)), 0.7, 10.0)
    found = block(tree, 0.01)
    assert found is not None
    first, second, swap = found.ops
    # One communication qubit at r: one after the other, without a gap.
    assert (first.start, first.end, second.start, second.end, swap.start) == (0, 4, 4, 12, 12)
    late = Tree("distil", ("a", "b"), (fibre("a", "b", 4), fibre("a", "b", 4)), 0.7, 10.0)
    both = block(Tree("swap", ("b",), (late, fibre("b", "c", 2)), 0.6, 5.0), 0.01)
    assert both is not None
    check_block(both)


def test_too_few_qubits_are_told() -> None:
    pair = fibre("a", "b")
    nested = Tree("distil", ("a", "b"), (pair, pair), 0.8, 10.0)
    deep = Tree("distil", ("a", "b"), (nested, nested), 0.9, 5.0)
    assert block(deep, 0.01, num_storage=1) is None
    found = block(deep, 0.01, num_storage=2)
    assert found is not None
    check_block(found, num_qubits=3)


# Schedulers -------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from(sorted(set(SCHEDULERS) - {"rcpsp-exact"})),
    st.sampled_from(["h", "line", "star", "surfnet"]),
)
def test_every_table_can_be_followed_and_keeps_every_promise(seed: int, scheduler: str, name: str) -> None:
    net, rng = network(name), np.random.default_rng(seed)
    wants = list(demands(all_pairs(net.users), rng, float(rng.choice([0.55, 0.65])), (0.4, 0.8, 1.6, 3.2), 14))
    view, actions = admitted(net, wants, scheduler)
    assert len(actions) == len(wants)
    table = view.table
    assert faults(table, view.resources, 100) == []
    assert set(view.served) == {action.id for action in actions if isinstance(action, Serve)}
    for one in view.served.values():
        assert table.periods[one.id] * 0.01 <= 1 / one.rate_per_s
        assert table.protocols[one.id].fidelity >= one.fidelity


def runs_of(protocols: dict[str, tuple[Protocol, int]]) -> tuple[list[Run], int]:
    return all_runs(
        {name: one for name, (one, _) in protocols.items()}, {name: p for name, (_, p) in protocols.items()}
    )


def test_disjoint_paths_go_beside_each_other_only_with_resources_of_their_own() -> None:
    runs, num_slots = runs_of({"x": (direct("a", "b", 6), 8), "y": (direct("c", "d", 6), 8)})
    assert SCHEDULERS["uni-np-edf"](runs, num_slots, 4, 0) is None
    entries = SCHEDULERS["rcpsp-np-edf"](runs, num_slots, 4, 0)
    assert entries is not None
    assert [entry.start for entry in entries] == [0, 0]


def test_the_exact_use_of_qubits_lets_neighbours_overlap() -> None:
    # a-r-b takes r's communication qubit to its end, but a's in its first half alone.
    tree = Tree("swap", ("r",), (fibre("a", "r", 4), fibre("r", "b", 4)), 0.7, 10.0)
    through = block(tree, 0.01)
    assert through is not None
    runs, num_slots = runs_of({"through": (through, 16), "beside": (direct("a", "c", 4), 8)})
    assert SCHEDULERS["rcpsp-np-edf"](runs, num_slots, 4, 0) is None
    assert SCHEDULERS["rcpsp-nonblock-np-edf"](runs, num_slots, 4, 0) is not None


def test_clairvoyance_idles_for_what_is_about_to_come() -> None:
    # The long run fits only after the second short one: beginning it before would make that one late.
    short, long = direct("a", "b", 2), direct("a", "b", 7)
    runs = [Run("short", 0, 4, short), Run("short", 4, 8, short), Run("long", 0, 16, long)]
    entries = clairvoyant(runs, is_one=False)
    assert entries is not None
    assert [(entry.demand, entry.start) for entry in entries] == [("short", 0), ("short", 4), ("long", 6)]


def test_a_run_is_stopped_within_its_budget_and_no_longer() -> None:
    pair = fibre("a", "b", 4)
    long = block(Tree("distil", ("a", "b"), (pair, pair), 0.85, 10.0), 0.01)
    assert long is not None
    # The short run must go exactly between the two halves of the long one, which stands still for three slots.
    runs = [Run("short", 7, 10, direct("a", "b", 3)), Run("long", 3, 16, long)]
    entries = preempted(runs, 4, 3, is_one=False)
    assert entries is not None
    (stopped,) = [entry for entry in entries if entry.demand == "long"]
    assert [(piece.offset, piece.start) for piece in stopped.pieces] == [(0, 3), (4, 10)]
    assert preempted(runs, 4, 2, is_one=False) is None
    assert clairvoyant(runs, is_one=False) is None


def test_parts_and_peaks_of_a_protocol() -> None:
    pair = fibre("a", "b", 4)
    both = block(Tree("distil", ("a", "b"), (pair, pair), 0.85, 10.0), 0.01)
    assert both is not None
    # The distillation takes no communication qubit, so that it belongs to what comes before it.
    assert [(part.offset, part.num_slots) for part in parts_of(both, is_one=False)] == [(0, 4), (4, 5)]
    assert peaks_of(both) == {"a": 2, "b": 2}


def test_first_windows_are_taken_in_the_order_of_deadlines() -> None:
    runs, num_slots = runs_of({"often": (direct("a", "b", 3), 8), "seldom": (direct("b", "c", 4), 16)})
    entries = inserted(runs, num_slots, 4, whole_block)
    assert entries is not None
    assert sorted((entry.start, entry.demand) for entry in entries) == [(0, "often"), (3, "seldom"), (8, "often")]


def test_periods_are_powers_of_two_that_keep_the_rate() -> None:
    assert [period_of(demand("a", "b", rate), 0.01) for rate in (100.0, 50.0, 1.0, 0.5)] == [1, 2, 64, 128]


# Tables -----------------------------------------------------------------------------------------------------------


def small_table(*starts: int) -> Table:
    protocol = direct("a", "b", 4)
    entries = tuple(Entry("x", 8 * n, 8 * n + 8, (Piece(0, at, 4),)) for n, at in enumerate(starts))
    return Table(8 * len(starts), {"x": protocol}, {"x": 8}, entries)


def nodes(*names: str) -> dict[str, Resource]:
    return {name: Resource(id=name, kind="node", capacity={"communication": 1.0, "storage": 3.0}) for name in names}


def test_what_a_table_is_worth() -> None:
    worth = quality(small_table(0, 12), 0.01)
    assert worth.pairs_per_s == pytest.approx(2 / 0.16)
    assert worth.response_s == pytest.approx(0.08)
    assert worth.jitter_s2 == pytest.approx(0.04**2)  # gaps of 12 and 4 slots
    assert quality(small_table(0, 8), 0.01).jitter_s2 == 0


def test_what_a_node_does() -> None:
    tree = Tree("swap", ("r",), (fibre("a", "r", 4), fibre("r", "b", 4)), 0.7, 10.0)
    protocol = block(tree, 0.01)
    assert protocol is not None
    table = Table(16, {"x": protocol}, {"x": 16}, (Entry("x", 0, 16, (Piece(0, 2, 9),)),))
    assert [(row.start, row.end, row.kind) for row in rows_of(table, "r")] == [
        (2, 6, "generate"), (6, 10, "generate"), (10, 11, "swap"),
    ]  # fmt: skip
    assert [row.kind for row in rows_of(table, "a")] == ["generate"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda table: small_table(0, 13), "not between its release and its deadline"),
        (lambda table: msgspec.structs.replace(table, entries=table.entries[:1]), "has 1 runs in 16 slots"),
        (lambda table: msgspec.structs.replace(table, entries=(
            Entry("x", 0, 8, (Piece(0, 0, 3),)), table.entries[1])), "leaves something out"),
        (lambda table: msgspec.structs.replace(table, entries=(
            Entry("x", 0, 8, (Piece(0, 0, 2), Piece(2, 3, 2))), table.entries[1])), "stops in the middle"),
        (lambda table: msgspec.structs.replace(
            table, protocols=table.protocols | {"y": direct("b", "c", 4)}, periods=table.periods | {"y": 16},
            entries=(*table.entries, Entry("y", 0, 16, (Piece(0, 2, 4),)))), "b makes two pairs at a time"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_found(spoil: object, why: str) -> None:
    good = small_table(0, 12)
    assert faults(good, nodes("a", "b", "c"), 100) == []
    assert why in faults(spoil(good), nodes("a", "b", "c"), 100)[0]  # type: ignore[operator]


def test_a_board_takes_no_table_that_breaks_a_promise() -> None:
    net = apart(1)
    view, wants = board(net), demand("a0", "b0", 1.0, 0.6)
    view.add(wants)
    policy = QuantumQos()
    (serve,) = policy.decide(Arrived(at_s=0.0, work=wants), view)
    assert isinstance(serve, Serve)
    slow = msgspec.structs.replace(serve.table, periods={wants.id: 128})
    for table, why in (
        (small_table(0), "leaves demand-0 out"),
        (slow, "too few pairs"),
        (msgspec.structs.replace(serve.table, entries=()), "has 0 runs"),
    ):
        assert why in str(view.apply(Serve(wants.id, {}, table)))
    assert view.apply(serve) is None
    assert view.apply(serve) == "it is not waiting"


# Admission --------------------------------------------------------------------------------------------------------


def test_the_newest_demand_is_the_one_that_is_rejected() -> None:
    wants = [demand("a0", "b0", 3.0, 0.6, f"demand-{n}") for n in range(8)]
    _, actions = admitted(apart(1), wants)
    served = [isinstance(action, Serve) for action in actions]
    assert served == sorted(served, reverse=True)
    assert 0 < sum(served) < 8
    assert isinstance(actions[-1], Reject)
    assert "keeps what others were promised" in actions[-1].why


def test_reasons_are_told() -> None:
    reasons = {}
    for name, wants in {
        "far": demand("a0", "a1"), "good": demand("a0", "b0", 1.0, 0.999), "fast": demand("a0", "b0", 30.0, 0.7),
        "unknown": demand("a0", "nobody"),
    }.items():  # fmt: skip
        (answer,) = admitted(apart(2), [wants])[1]
        assert isinstance(answer, Reject)
        reasons[name] = answer.why
    assert reasons["far"] == "there is no way from a0 to a1"
    assert reasons["unknown"] == "there is no way from a0 to nobody"
    assert reasons["good"] == "no protocol reaches a fidelity of 0.999 at 1 pairs per second"
    assert "too long for" in reasons["fast"] or "no protocol reaches" in reasons["fast"]


def test_ways_are_the_shortest() -> None:
    assert shortest(surfnet().fibres, "Delft", "Utrecht") == (
        ("Delft", "Rotterdam", "Utrecht"),
        pytest.approx((2.8, 11.0)),
    )
    assert shortest(h_shape().fibres, "a", "d") == (("a", "left", "right", "d"), (5.0, 5.0, 5.0))
    assert shortest(line().fibres, "n0", "n0") == (("n0",), ())


def test_networks_are_whole() -> None:
    for name in NETWORKS:
        net = network(name)
        assert all(shortest(net.fibres, one, other) for one, other in all_pairs(net.users))
    with pytest.raises(LookupError, match="Nearest"):
        network("surf")


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"scheduler": "fifo"}, "scheduler must be one of uni-np-edf"),
        ({"budget_slots": -1}, "budget_slots must be >= 0, got -1"),
        ({"max_period_slots": 1000}, "max_period_slots must be a power of two, got 1000"),
    ],
)
def test_bad_parameters_are_one_sentence(params: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        QuantumQos(**params)  # type: ignore[arg-type]
