"""The network of the robot cell: stations are read alike, the whole is their mean and maximum, choices are scored."""

from __future__ import annotations

import numpy as np

from headway.numerics.nets import Array, NumpyWeights, Ops, Weights, init_linear, init_mlp, linear, mlp
from headway.policies.shop.glass_sight import NUM_OF_ALL, NUM_OF_CHOICE, NUM_OF_STATION

WIDTH = 48


def forward(ops: Ops, weights: Weights, features: Weights) -> tuple[Array, Array]:
    """Score waiting, picks and places.

    Parameters
    ----------
    ops : Ops
        The library.
    weights : mapping of str to array
        Those of `first_weights`, or learnt from them.
    features : mapping of str to array
        ``"stations"`` [batch, stations, numbers], ``"choices"`` [batch, 2 * stations, numbers], ``"whole"``
        [batch, numbers].

    Returns
    -------
    (array [batch, 1 + 2 * stations], array [batch])
        Scores, and the return that is expected.
    """
    stations, choices = ops.asarray(features["stations"]), ops.asarray(features["choices"])
    whole = ops.asarray(features["whole"])
    read = ops.relu(linear(weights, "read", stations))
    pooled = [ops.mean(read, axis=1), ops.max(read, axis=1), whole]
    about = ops.relu(linear(weights, "about", ops.concatenate(pooled, axis=-1)))
    # One layer of sums: the state as a whole is added to each station rather than joined to it, which costs less.
    seen = linear(weights, "seen", read) + linear(weights, "told", about)[:, None, :]
    num = stations.shape[1]
    picks = _scores(ops, weights, "pick", seen, choices[:, :num])
    places = _scores(ops, weights, "place", seen, choices[:, num:])
    wait = mlp(ops, weights, "wait", about)
    return ops.concatenate([wait, picks, places], axis=-1), mlp(ops, weights, "value", about)[:, 0]


def first_weights(rng: np.random.Generator) -> NumpyWeights:
    """Draw weights that prefer nothing yet."""
    made = init_linear(rng, "read", NUM_OF_STATION, WIDTH) | init_linear(rng, "about", 2 * WIDTH + NUM_OF_ALL, WIDTH)
    made |= init_linear(rng, "seen", WIDTH, WIDTH) | init_linear(rng, "told", WIDTH, WIDTH)
    for name in ("pick", "place"):
        made |= init_linear(rng, f"{name}.of", NUM_OF_CHOICE, WIDTH) | init_linear(rng, f"{name}.mix", WIDTH, WIDTH)
        made |= init_linear(rng, f"{name}.score", WIDTH, 1, 0.01)
    return made | init_mlp(rng, "wait", (WIDTH, WIDTH, 1), 0.01) | init_mlp(rng, "value", (WIDTH, WIDTH, 1), 1.0)


def _scores(ops: Ops, weights: Weights, name: str, seen: Array, choices: Array) -> Array:
    mixed = ops.relu(linear(weights, f"{name}.mix", ops.relu(seen + linear(weights, f"{name}.of", choices))))
    return linear(weights, f"{name}.score", mixed)[:, :, 0]
