"""Quantum networks in virtual time: pairs come when the table says, tables change between rounds."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from headway.core.actions import Preempt, Start
from headway.core.drivers import simulate
from headway.core.events import Arrived, Finished
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.shop.quantum_nouns import Serve
from headway.policies.shop.quantum_qos import QuantumQos
from headway.sim.shop.quantum_networks import Network, all_pairs, apart, demands, line
from headway.sim.shop.quantum_world import HiddenDemand, QuantumWorld
from policies.shop.quantum_inputs import demand


def played(world: QuantumWorld, scheduler: str = "rcpsp-np-edf") -> MemoryTrace:
    trace, policy = MemoryTrace(10_000), QuantumQos(scheduler=scheduler)  # type: ignore[arg-type]
    simulate(world, policy, session=Session(policy, world.view, trace=trace))
    return trace


def alone(rate_per_s: float, num_pairs: int, **more: bool) -> QuantumWorld:
    return QuantumWorld([HiddenDemand(demand("a0", "b0", rate_per_s), num_pairs, 7)], apart(1), **more)


def test_a_user_alone_leaves_when_the_table_has_given_what_was_wanted() -> None:
    world = alone(1.0, 5)
    trace = played(world)
    (serve,) = [action for action in trace.actions if isinstance(action, Serve)]
    (entry,) = serve.table.entries
    assert serve.table.num_slots == 64
    assert world.took_s == {"demand-0": pytest.approx((4 * 64 + entry.end) * 0.01)}


def test_rates_are_kept_while_others_come_and_go() -> None:
    rng, net = np.random.default_rng(3), line()
    arrivals = [
        HiddenDemand(replace(one, arrival_s=3.0 * n), 40)
        for n, one in enumerate(demands(all_pairs(net.users), rng, 0.55, (0.8, 1.6, 3.2), 25))
    ]  # fmt: skip
    world = QuantumWorld(arrivals, net)
    played(world)
    assert len(world.took_s) > 5
    for one in arrivals:
        name = one.demand.id
        if name in world.took_s:
            # One round of the longest table may go by before the demand's first run, and one period until it ends.
            assert world.took_s[name] <= (40 + 1) / one.demand.rate_per_s + 2 * 1.28 + 1e-6
            assert world.num_pairs[name] == 40
    assert all(worth.pairs_per_s > 0 and lasted_s > 0 for worth, lasted_s in world.qualities)


def test_luck_takes_longer_and_depends_on_the_demand_alone() -> None:
    wants = [HiddenDemand(demand("a0", "b0", 0.5, 0.85), 50, seed) for seed in (1, 1, 2)]
    took = [sum(_lucky(one, lucky=False).took_s.values()) for one in wants]
    assert took[0] == took[1] != took[2]
    assert min(took) > 1.5 * sum(_lucky(wants[0], lucky=True).took_s.values())


def _lucky(one: HiddenDemand, *, lucky: bool) -> QuantumWorld:
    world = QuantumWorld([one], apart(1), lucky=lucky)
    played(world)
    return world


def test_a_table_is_in_force_from_the_end_of_a_round_on() -> None:
    first, second = demand("a0", "b0", 1.0, name="first"), demand("a1", "b1", 1.0, name="second")
    late = replace(second, arrival_s=1.0)
    world = QuantumWorld([HiddenDemand(first, 10), HiddenDemand(late, 1)], apart(2))
    trace = played(world)
    serves = [action for action in trace.actions if isinstance(action, Serve)]
    (end,) = [entry.end for entry in serves[1].table.entries if entry.demand == "second"]
    # It comes at slot 100, in the second round of 64 slots: its table begins at slot 128.
    assert world.took_s["second"] == pytest.approx((128 + end) * 0.01 - 1.0)
    (end,) = [entry.end for entry in serves[1].table.entries if entry.demand == "first"]
    assert world.took_s["first"] == pytest.approx((9 * 64 + end) * 0.01)


def test_what_cannot_be_is_refused() -> None:
    world = alone(1.0, 2)
    event = world.next()
    assert isinstance(event, Arrived)
    assert world.apply(Start("demand-0", {})) == "a demand is served by a table: `Serve`"
    assert world.apply(Preempt("demand-0")) == "a quantum network does not know Preempt"
    (serve,) = QuantumQos().decide(event, world.view)
    assert world.apply(serve) is None
    assert isinstance(world.next(), Finished)
    assert world.next() is None


def test_networks_have_nodes_with_qubits() -> None:
    net: Network = apart(2)
    assert [node.id for node in net.nodes()] == ["a0", "r0", "b0", "a1", "r1", "b1"]
    assert net.nodes(num_storage=5)[0].capacity == {"communication": 1.0, "storage": 5.0}
