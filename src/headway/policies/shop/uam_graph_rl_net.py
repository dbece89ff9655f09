"""The network of the fleet: graph capsules over vertiports and aircraft, forecasts, and a decoder that looks at both.

A graph capsule layer takes moments of what a node knows (its numbers to the powers 1 to P), filters each with powers
of the graph's Laplacian (L^0 to L^K), and mixes all of them linearly.
"""

from __future__ import annotations

import numpy as np

from headway.numerics.nets import (
    Array,
    NumpyWeights,
    Ops,
    Weights,
    attention,
    init_attention,
    init_linear,
    init_mlp,
    linear,
    mlp,
)
from headway.policies.shop.uam_sight import (
    NUM_BLOCKS,
    NUM_OF_ALL,
    NUM_OF_CRAFT,
    NUM_OF_PAIR,
    NUM_OF_PORT,
    NUM_SERIES,
)

WIDTH = 32
INNER = 12
PORT_MOMENTS, PORT_HOPS = 3, 2
CRAFT_MOMENTS, CRAFT_HOPS = 2, 1
CLIP = 10.0
"""Scores of the decoder's keys stay within this."""


def forward(ops: Ops, weights: Weights, features: Weights) -> tuple[Array, Array]:
    """Score every vertiport as the next place of an aircraft.

    Parameters
    ----------
    ops : Ops
        The library.
    weights : mapping of str to array
        Those of `first_weights`, or learnt from them.
    features : mapping of str to array
        What `headway.policies.shop.uam_sight` sees, each with the batch as its first axis.

    Returns
    -------
    (array [batch, vertiports], array [batch])
        Scores, and the return that is expected.
    """
    seen = {name: ops.asarray(array) for name, array in features.items()}
    num = seen["ports"].shape[1]
    is_at = seen["where"][:, :, None] == ops.asarray(np.arange(num))
    member = ops.where(is_at, 1.0, 0.0) * seen["crafts"][:, :, 5:6]  # [batch, aircraft, vertiports], on duty
    gathered = ops.swapaxes(member, 1, 2)
    ports = _port_capsule(ops, weights, seen["ports"], seen["links"])
    crafts = _craft_capsule(ops, weights, seen["crafts"], member, gathered)
    series = ops.relu(linear(weights, "series", seen["series"]))
    told = ops.concatenate([ports, gathered @ crafts / 10.0, series, seen["pairs"]], axis=-1)
    keys = ops.relu(linear(weights, "key", told))
    mine = ops.sum(crafts * seen["crafts"][:, :, 6:7], axis=1)
    context = [ops.mean(keys, axis=1), ops.mean(crafts, axis=1), mine, seen["whole"]]
    query = linear(weights, "query", ops.concatenate(context, axis=-1))[:, None, :]
    glimpse = query + attention(ops, weights, "glimpse", query, of=keys, heads=4)
    aimed = ops.sum(linear(weights, "aim", glimpse) * keys, axis=-1) / float(WIDTH) ** 0.5
    scores = CLIP * ops.tanh(aimed / CLIP) + linear(weights, "skip", seen["pairs"])[:, :, 0]
    return scores, mlp(ops, weights, "value", ops.relu(glimpse[:, 0]))[:, 0]


def first_weights(rng: np.random.Generator) -> NumpyWeights:
    """Draw weights that prefer nothing yet."""
    made = init_linear(rng, "port.in", NUM_OF_PORT, INNER, 1.0) | init_linear(rng, "craft.in", NUM_OF_CRAFT, INNER, 1.0)
    made |= init_linear(rng, "port.out", INNER * PORT_MOMENTS * (PORT_HOPS + 1), WIDTH)
    made |= init_linear(rng, "craft.out", INNER * CRAFT_MOMENTS * (CRAFT_HOPS + 1), WIDTH)
    made |= init_linear(rng, "series", NUM_SERIES * NUM_BLOCKS, WIDTH // 2)
    made |= init_linear(rng, "key", 2 * WIDTH + WIDTH // 2 + NUM_OF_PAIR, WIDTH)
    made |= init_linear(rng, "query", 3 * WIDTH + NUM_OF_ALL, WIDTH, 1.0)
    made |= init_attention(rng, "glimpse", WIDTH) | init_linear(rng, "aim", WIDTH, WIDTH, 0.1)
    made |= init_linear(rng, "skip", NUM_OF_PAIR, 1, 0.01)
    return made | init_mlp(rng, "value", (WIDTH, WIDTH, 1))


def _port_capsule(ops: Ops, weights: Weights, ports: Array, links: Array) -> Array:
    """Vertiports are linked where they are near and the route is open; the Laplacian is normalised."""
    first = ops.tanh(linear(weights, "port.in", ports))
    degree = ops.sqrt(ops.sum(links, axis=-1) + 1e-6)
    links = links / degree[:, :, None] / degree[:, None, :]
    mixed = []
    for power in range(PORT_MOMENTS):
        moment = first ** (power + 1)
        mixed.append(moment)
        for _ in range(PORT_HOPS):
            moment = moment - links @ moment
            mixed.append(moment)
    return ops.relu(linear(weights, "port.out", ops.concatenate(mixed, axis=-1)))


def _craft_capsule(ops: Ops, weights: Weights, crafts: Array, member: Array, gathered: Array) -> Array:
    """Aircraft are linked to all that are, or will be, at the same vertiport; the Laplacian is one less their mean."""
    first = ops.tanh(linear(weights, "craft.in", crafts))
    num = ops.sum(gathered, axis=-1, keepdims=True) + 1e-6
    mixed = []
    for power in range(CRAFT_MOMENTS):
        moment = first ** (power + 1)
        mixed.append(moment)
        for _ in range(CRAFT_HOPS):
            moment = moment - member @ (gathered @ moment / num)
            mixed.append(moment)
    return ops.relu(linear(weights, "craft.out", ops.concatenate(mixed, axis=-1))) * crafts[:, :, 5:6]
