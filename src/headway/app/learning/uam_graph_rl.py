"""How the network for fleets of aircraft is taught: PPO on parts of drawn days of one city."""

from __future__ import annotations

import numpy as np

from headway.app.learning.rounds import Rounds, taught
from headway.app.learning.training import TrainSpec
from headway.numerics.nets import NumpyWeights
from headway.policies.shop.uam_graph_rl_net import first_weights, forward
from headway.sim.shop.uam_small import start

ROUNDS = Rounds(
    start=start, num_episodes=16, num_valid=12, valid_every=10, gamma=0.99, scale=1.0, rate=1e-3, minibatch=1024
)


def train(spec: TrainSpec) -> NumpyWeights:
    """Teach the network that sends aircraft."""
    return taught(spec, ROUNDS, forward, first_weights(np.random.default_rng(spec.seed)))
