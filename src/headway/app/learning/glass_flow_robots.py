"""How the network for transfer robots is taught: PPO in drawn cells of every kind."""

from __future__ import annotations

import numpy as np

from headway.app.learning.rounds import Rounds, taught
from headway.app.learning.training import TrainSpec
from headway.numerics.nets import NumpyWeights
from headway.policies.shop.glass_flow_robots_net import first_weights, forward
from headway.sim.shop.glass_small import start

ROUNDS = Rounds(start=start, num_episodes=48, num_valid=64, gamma=0.999, rate=5e-4)


def train(spec: TrainSpec) -> NumpyWeights:
    """Teach the network that chooses moves."""
    return taught(spec, ROUNDS, forward, first_weights(np.random.default_rng(spec.seed)))
