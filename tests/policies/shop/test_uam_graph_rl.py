"""The network of the fleet: what it sees, what it may choose, and that both libraries compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from headway.app.learning.torch_ops import TORCH, to_torch
from headway.core.drivers import simulate
from headway.core.learning import Question
from headway.numerics.nets import NUMPY, load
from headway.policies.shop.uam_graph_rl import SHIPPED, UamGraphRl
from headway.policies.shop.uam_graph_rl_net import first_weights, forward
from headway.policies.shop.uam_rule import UamRule
from headway.sim.shop.uam_small import drawn_city, drawn_day, part_of_day, start


def questions(num: int, seed: int = 0) -> list[Question]:
    asking = start(seed)
    found = [next(asking)]
    for _ in range(num - 1):
        legal = np.flatnonzero(found[-1].legal)
        found.append(asking.send(int(legal[len(found) % len(legal)])))
    return found


def batch(found: list[Question]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {name: np.stack([one.features[name] for one in found]) for name in found[0].features}


def test_numpy_and_torch_agree() -> None:
    weights, found = load(SHIPPED, first_weights(np.random.default_rng(0))), batch(questions(60))
    scores, values = forward(NUMPY, weights, found)
    theirs, their_values = forward(TORCH, to_torch(weights), found)
    assert scores.shape == (60, 8)
    np.testing.assert_allclose(scores, theirs.detach().numpy(), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(values, their_values.detach().numpy(), rtol=2e-3, atol=2e-3)


def test_vertiports_have_no_numbers() -> None:
    """Renumbering vertiports renumbers scores, and nothing else."""
    weights, found = load(SHIPPED), batch(questions(50)[-1:])
    order = np.random.default_rng(1).permutation(8)
    mixed = dict(found)
    for name in ("ports", "series", "pairs"):
        mixed[name] = found[name][:, order]
    mixed["links"] = found["links"][:, order][:, :, order]
    mixed["where"] = np.argsort(order)[found["where"]]
    scores, value = forward(NUMPY, weights, found)
    others, other_value = forward(NUMPY, weights, mixed)
    np.testing.assert_allclose(scores[:, order], others, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(value, other_value, rtol=1e-3, atol=1e-3)


def test_features_are_numbers_that_a_network_likes() -> None:
    for question in questions(200):
        assert question.legal.any()
        for name, array in question.features.items():
            assert np.isfinite(array).all()
            assert name == "where" or np.abs(array).max() < 12, name


def test_any_number_of_vertiports_and_aircraft_will_do() -> None:
    city = drawn_city(1, num_vertiports=5, hours=2.0, passengers_per_h=120.0)
    world = drawn_day(city, 12, 0)
    assert not simulate(world, UamGraphRl()).num_refused
    assert world.view.num_carried


def test_the_shipped_network_earns_more_than_greed() -> None:
    profit = {UamRule: 0.0, UamGraphRl: 0.0}
    for seed in (2_000_000_000, 2_000_000_001):
        for policy in (UamRule(), UamGraphRl()):
            world = part_of_day(seed)
            assert not simulate(world, policy).num_refused
            profit[type(policy)] += world.view.profit
    assert profit[UamGraphRl] > 1.15 * profit[UamRule]


def test_weights_of_another_network_are_refused(tmp_path: object) -> None:
    from headway.core.errors import ConfigError
    from headway.policies.shop.glass_flow_robots import SHIPPED as OTHER

    with pytest.raises(ConfigError, match="It is for another network"):
        UamGraphRl(weights=str(OTHER)).choose(questions(1)[0])
