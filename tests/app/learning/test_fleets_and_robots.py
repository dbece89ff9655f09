"""Networks for fleets and for transfer robots are taught from nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headway.app.learning import glass_flow_robots
from headway.app.learning.rounds import totals
from headway.app.learning.training import TrainNews, TrainSpec, train
from headway.numerics import nets
from headway.policies.shop import glass_flow_robots_net, uam_graph_rl_net
from headway.sim.shop import glass_small, uam_small


@pytest.mark.slow
def test_robots_learn_in_twenty_seconds() -> None:
    news: list[TrainNews] = []
    weights = glass_flow_robots.train(TrainSpec(seed=1, budget_s=20.0, tell=news.append))
    first = glass_flow_robots_net.first_weights(np.random.default_rng(1))
    means = [
        np.mean(totals([glass_small.start(seed) for seed in range(16)], glass_flow_robots_net.forward, one))
        for one in (first, weights)
    ]
    assert means[1] > means[0] + 3.0
    assert news[-1].numbers["best"] > -6.0


@pytest.mark.slow
def test_fleets_learn_in_a_minute(tmp_path: Path) -> None:
    out = tmp_path / "fleet.npz"
    about = train("shop/uam-graph-rl", TrainSpec(seed=1, budget_s=60.0), out)
    assert about["num_weights"] == 18291
    first = uam_graph_rl_net.first_weights(np.random.default_rng(1))
    means = [
        np.mean(totals([uam_small.start(seed) for seed in range(3)], uam_graph_rl_net.forward, one))
        for one in (first, nets.load(out))
    ]
    assert means[1] > means[0] + 20.0


def test_what_ships_says_how_it_was_taught() -> None:
    from headway.policies.shop.glass_flow_robots import SHIPPED as ROBOTS
    from headway.policies.shop.uam_graph_rl import SHIPPED as FLEETS

    for path, id_ in ((ROBOTS, "shop/glass-flow-robots"), (FLEETS, "shop/uam-graph-rl")):
        about = nets.about(path)
        assert about["id"] == id_
        assert about["budget_s"] <= 1200
        assert path.stat().st_size < 150_000


def test_both_are_listed_as_trainable() -> None:
    from headway.app.learning.training import trainable

    assert {"shop/uam-graph-rl", "shop/glass-flow-robots"} <= set(trainable())
