"""The graph network of shops without buffers, for numpy and torch alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.numerics.nets import NumpyWeights, Ops, Weights, init_linear, init_mlp, linear, mlp
from headway.policies.shop.isbjssp_features import NUM_FEATURES

NUM_ROUNDS = 3
WIDTH = 16


def first_weights(rng: np.random.Generator) -> NumpyWeights:
    """Draw the weights from which learning starts."""
    made = init_linear(rng, "embed", NUM_FEATURES, WIDTH)
    for nth in range(NUM_ROUNDS):
        made |= init_linear(rng, f"messages{nth}", WIDTH, 3 * WIDTH)
        made |= init_mlp(rng, f"update{nth}", [5 * WIDTH + NUM_FEATURES, 2 * WIDTH, WIDTH])
    made |= init_mlp(rng, "policy", [2 * WIDTH, 2 * WIDTH, 1], last_gain=0.01)
    return made | init_mlp(rng, "value", [2 * WIDTH, 2 * WIDTH, 1])


def forward(ops: Ops, weights: Weights, features: Any) -> tuple[Any, Any]:
    """Score the jobs, and say what the rest of the episode is worth.

    Parameters
    ----------
    ops : Ops
        The library.
    weights : mapping of str to array
        As `first_weights` makes them.
    features : mapping of str to array
        Those of `isbjssp_features`, with the batch as the first axis.

    Returns
    -------
    scores [batch, jobs], value [batch]
    """
    nodes, alive, on = (ops.asarray(features[name]) for name in ("nodes", "alive", "on"))
    batch, jobs, places = alive.shape
    nodes, on = (array.reshape(batch, jobs * places, array.shape[-1]) for array in (nodes, on))
    alive = alive.reshape(batch, jobs * places, 1)
    sizes = (on * ops.sum(on, 1, keepdims=True)).sum(-1)[..., None]  # how many nodes are on each one's machine
    degrees = ops.relu(sizes - 2.0) + 1.0
    num_alive = ops.sum(alive, 1, keepdims=True)
    hidden = ops.relu(linear(weights, "embed", nodes)) * alive
    for nth in range(NUM_ROUNDS):
        sent = ops.relu(linear(weights, f"messages{nth}", hidden)) * alive
        beside = sent[..., 2 * WIDTH :]
        beside = (on @ (ops.swapaxes(on, 1, 2) @ beside) - beside * alive) / degrees
        mean = ops.sum(hidden, 1, keepdims=True) / num_alive + 0.0 * hidden  # the same for every node
        heard = [*_along_jobs(ops, sent[..., : 2 * WIDTH], jobs, places), beside, mean, hidden, nodes]
        hidden = mlp(ops, weights, f"update{nth}", ops.concatenate(heard, 2)) * alive
    return _answers(ops, weights, features, hidden.reshape(batch, jobs, places, WIDTH), num_alive[..., 0])


def _along_jobs(ops: Ops, sent: Any, jobs: int, places: int) -> list[Any]:
    """Return what each node hears from its predecessor and from its successor."""
    rows = sent.reshape(len(sent), jobs, places, 2 * WIDTH)
    nothing = 0.0 * rows[:, :, :1, :WIDTH]
    before = ops.concatenate([nothing, rows[:, :, :-1, :WIDTH]], 2)
    behind = ops.concatenate([rows[:, :, 1:, WIDTH:], nothing], 2)
    return [heard.reshape(len(sent), jobs * places, WIDTH) for heard in (before, behind)]


def _answers(ops: Ops, weights: Weights, features: Any, hidden: Any, num_alive: Any) -> tuple[Any, Any]:
    of_jobs = ops.sum(hidden * ops.asarray(features["current"])[..., None], 2)  # [batch, jobs, width]
    total = ops.sum(ops.sum(hidden, 2), 1)
    mean = total / num_alive
    pairs = ops.concatenate([of_jobs, mean[:, None] + 0.0 * of_jobs], 2)
    scores = mlp(ops, weights, "policy", pairs)[..., 0]
    whole = ops.concatenate([mean, total / float(hidden.shape[1] * hidden.shape[2])], 1)
    return scores, mlp(ops, weights, "value", whole)[..., 0]
