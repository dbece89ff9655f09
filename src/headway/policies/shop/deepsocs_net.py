"""The network of DeepSoCS: what the tasks behind a task come to, as sums of messages from children to parents."""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.numerics.nets import Array, NumpyWeights, Ops, Weights, init_linear, init_mlp, linear, mlp

NUM_FEATURES = 8
"""Of a task; see `headway.policies.shop.deepsocs_features`."""
WIDTH = 8
DEPTH = 2
"""How far messages go."""
HIDDEN = (16, 8)
SCORE_HIDDEN = (32, 16, 8)
PARTS = {"node": NUM_FEATURES, "embedding": WIDTH, "job": WIDTH, "all": WIDTH}
"""What a score is made of; its first layer is written in four parts, so that nothing is copied to every task."""


def first_weights(rng: np.random.Generator) -> NumpyWeights:
    """Draw weights to begin with: 3,713 numbers."""
    made: NumpyWeights = {}
    for name, num_in in (
        ("prepare", NUM_FEATURES), ("send", WIDTH), ("receive", WIDTH), ("job", NUM_FEATURES + WIDTH), ("all", WIDTH),
    ):  # fmt: skip
        made |= init_mlp(rng, name, (num_in, *HIDDEN, WIDTH))
    for name, num_in in PARTS.items():
        made |= init_linear(rng, f"score.{name}", num_in, SCORE_HIDDEN[0])
    return made | init_mlp(rng, "rate", (*SCORE_HIDDEN, 1), last_gain=0.1)


def forward(ops: Ops, weights: Weights, features: Any) -> tuple[Array, Array]:
    """Score every task of every job.

    Parameters
    ----------
    ops : Ops
        The library.
    weights : mapping of str to array
        Those of `first_weights`, or what became of them.
    features : mapping of str to array
        ``nodes`` [batch, jobs, tasks, 8], ``children`` [batch, jobs, tasks, tasks], ``alive`` [batch, jobs, tasks].

    Returns
    -------
    scores, values : array, [batch, jobs * tasks] and [batch]
        There is no estimate of values: they are 0.
    """
    nodes, children, alive = (ops.asarray(features[name]) for name in ("nodes", "children", "alive"))
    there = alive[..., None]
    prepared = mlp(ops, weights, "prepare", nodes)
    embedding = prepared
    for _ in range(DEPTH):
        embedding = prepared + mlp(ops, weights, "receive", children @ (there * mlp(ops, weights, "send", embedding)))
    whole = mlp(ops, weights, "job", ops.concatenate([nodes, embedding], -1)) * there
    job = ops.sum(whole, axis=-2)
    everything = ops.sum(mlp(ops, weights, "all", job), axis=-2)
    scores = linear(weights, "score.node", nodes) + linear(weights, "score.embedding", embedding)
    scores = scores + linear(weights, "score.job", job)[:, :, None, :]
    scores = scores + linear(weights, "score.all", everything)[:, None, None, :]
    rated = mlp(ops, weights, "rate", ops.relu(scores))
    return rated.reshape(nodes.shape[0], -1), ops.sum(everything * 0.0, axis=-1)
