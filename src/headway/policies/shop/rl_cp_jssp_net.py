"""The network of shop/rl-cp-jssp: a tiny transformer over the operations of each job, then over jobs that compete."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headway.numerics.nets import (
    Array,
    NumpyWeights,
    Ops,
    Weights,
    attention,
    init_attention,
    init_linear,
    init_norm,
    linear,
    norm,
)

PLACES = 64
COLUMNS = 6
"""Fixed, duration, earliest start, legal; and beyond the publication, work left of the job and of the machine."""


def forward(ops: Ops, weights: Weights, features: dict[str, Array]) -> tuple[Array, Array]:
    """Score jobs and the No-Op.

    Parameters
    ----------
    ops : Ops
        The library.
    weights : mapping of str to array
        As `init` makes them; they say how many columns of `ops` are read.
    features : dict of str to array
        ``ops`` [batch, jobs, window, columns], ``valid`` [batch, jobs, window], ``place`` [batch, jobs, window],
        ``upcoming`` [batch, jobs, window] (1 at the next operation, else 0), ``rivals`` [batch, jobs, jobs] (whether
        their next operations need the same machine; true for each and itself), ``legal`` [batch, jobs].

    Returns
    -------
    scores : array, [batch, jobs + 1]
        The last is the No-Op's. Those of jobs that are not legal mean nothing.
    value : array, [batch]
        0: there is no critic.
    """
    seen = features["ops"][..., : weights["embed.w"].shape[0]]
    x = linear(weights, "embed", seen) + weights["place"][features["place"]]
    at = ops.sum(x * features["upcoming"][..., None], axis=-2, keepdims=True)  # no other operation is read below
    x = _encode(ops, weights, "within", at, x, features["valid"][..., None, :])[..., 0, :]
    x = x + _encode(ops, weights, "among", x, x, features["rivals"])
    legal = features["legal"]
    mean = ops.sum(x * legal[..., None], axis=-2, keepdims=True) / ops.sum(legal, axis=-1, keepdims=True)[..., None]
    scores = ops.concatenate([_score(ops, weights, "job", x), _score(ops, weights, "wait", mean)], -1)
    return scores, 0.0 * ops.sum(scores, axis=-1)


def init(rng: np.random.Generator, *, columns: int = 4, width: int = 8, hidden: int = 32) -> NumpyWeights:
    """Draw weights: orthogonal, places in sines; `columns` is 4 as published, or 6."""
    made: NumpyWeights = {"place": sines(PLACES, width)}
    made |= init_linear(rng, "embed", columns, width, 1.0)
    for layer in ("within", "among"):
        made |= init_attention(rng, f"{layer}.attend", width)
        made |= init_linear(rng, f"{layer}.up", width, hidden) | init_linear(rng, f"{layer}.down", hidden, width, 1.0)
        made |= init_norm(f"{layer}.first", width) | init_norm(f"{layer}.second", width)
    for head in ("job", "wait"):
        made |= init_linear(rng, f"{head}.0", width, hidden) | init_linear(rng, f"{head}.1", hidden, 1, 0.1)
    return made


def sines(num: int, width: int) -> npt.NDArray[np.float32]:
    """Return the usual code of positions, [num, width]."""
    angles = np.arange(num)[:, None] / 10_000.0 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(num, width).astype(np.float32)


def _encode(ops: Ops, weights: Weights, name: str, x: Array, of: Array, mask: Array) -> Array:
    x = norm(ops, weights, f"{name}.first", x + attention(ops, weights, f"{name}.attend", x, of=of, mask=mask))
    grown = ops.relu(linear(weights, f"{name}.up", x))
    return norm(ops, weights, f"{name}.second", x + linear(weights, f"{name}.down", grown))


def _score(ops: Ops, weights: Weights, name: str, x: Array) -> Array:
    return linear(weights, f"{name}.1", ops.tanh(linear(weights, f"{name}.0", x)))[..., 0]
