"""Small networks as functions of their weights, written once for numpy, which decides, and torch, which trains.

A network is a function of (ops, weights, features): `ops` is `NUMPY` or its twin for torch, `weights` a dictionary of
arrays or tensors, and every array of features has the batch as its first axis. Matrices are ``[in, out]``.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from headway.core.errors import ConfigError

Array: TypeAlias = Any
"""A numpy array or a torch tensor."""
Weights: TypeAlias = Mapping[str, Array]
NumpyWeights: TypeAlias = dict[str, npt.NDArray[Any]]

ABOUT = "about"
"""Under this name a file of weights says where they are from, as JSON."""
NOWHERE = -1e9
"""The score of what must not be chosen."""


class Ops(Protocol):
    """What networks need beyond operators; both libraries have it, not under equal names."""

    def exp(self, x: Array) -> Array: ...  # noqa: D102
    def log(self, x: Array) -> Array: ...  # noqa: D102
    def sqrt(self, x: Array) -> Array: ...  # noqa: D102
    def tanh(self, x: Array) -> Array: ...  # noqa: D102
    def relu(self, x: Array) -> Array: ...  # noqa: D102
    def where(self, condition: Array, x: Array, y: Array) -> Array: ...  # noqa: D102
    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array: ...  # noqa: D102
    def stack(self, arrays: Sequence[Array], axis: int) -> Array: ...  # noqa: D102
    def swapaxes(self, x: Array, one: int, other: int) -> Array: ...  # noqa: D102
    def sum(self, x: Array, axis: int, keepdims: bool = False) -> Array: ...  # noqa: D102
    def mean(self, x: Array, axis: int, keepdims: bool = False) -> Array: ...  # noqa: D102
    def max(self, x: Array, axis: int, keepdims: bool = False) -> Array: ...  # noqa: D102
    def take(self, x: Array, index: Array, axis: int) -> Array: ...  # noqa: D102
    def asarray(self, x: Any) -> Array: ...  # noqa: D102


class NumpyOps:
    """The operations in numpy, in single precision."""

    exp = staticmethod(np.exp)
    log = staticmethod(np.log)
    sqrt = staticmethod(np.sqrt)
    tanh = staticmethod(np.tanh)
    swapaxes = staticmethod(np.swapaxes)
    concatenate = staticmethod(np.concatenate)
    stack = staticmethod(np.stack)

    def relu(self, x: Array) -> Array:
        """Return what is positive, and 0 for the rest."""
        return np.maximum(x, 0)

    def where(self, condition: Array, x: Array, y: Array) -> Array:
        """Return x where the condition holds, else y."""
        return np.where(condition, *[np.float32(one) if isinstance(one, float) else one for one in (x, y)])

    def sum(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        """Add along an axis."""
        return x.sum(axis=axis, keepdims=keepdims)

    def mean(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        """Return the mean along an axis."""
        return x.mean(axis=axis, keepdims=keepdims)

    def max(self, x: Array, axis: int, keepdims: bool = False) -> Array:
        """Return the largest along an axis."""
        return x.max(axis=axis, keepdims=keepdims)

    def take(self, x: Array, index: Array, axis: int) -> Array:
        """Return the entries at an index of one axis; the index is one-dimensional."""
        return np.take(x, index, axis=axis)

    def asarray(self, x: Any) -> Array:
        """Return an array: numbers in single precision, truth values as they are."""
        array = np.asarray(x)
        return array if array.dtype == bool or array.dtype.kind == "i" else array.astype(np.float32, copy=False)


NUMPY: Ops = NumpyOps()


# Parts of networks -----------------------------------------------------------------------------------------------


def linear(weights: Weights, name: str, x: Array) -> Array:
    """Apply the linear layer `name`: ``[..., in]`` to ``[..., out]``."""
    return x @ weights[f"{name}.w"] + weights[f"{name}.b"]


def mlp(ops: Ops, weights: Weights, name: str, x: Array) -> Array:
    """Apply layers ``name.0``, ``name.1``, ... with ReLU between them."""
    depth = 0
    while f"{name}.{depth}.w" in weights:
        x = linear(weights, f"{name}.{depth}", ops.relu(x) if depth else x)
        depth += 1
    return x


def norm(ops: Ops, weights: Weights, name: str, x: Array) -> Array:
    """Apply the layer normalisation `name` over the last axis."""
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    scale = ops.sqrt(ops.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
    return centred / scale * weights[f"{name}.w"] + weights[f"{name}.b"]


def softmax(ops: Ops, scores: Array) -> Array:
    """Return the softmax over the last axis."""
    raised = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
    return raised / ops.sum(raised, axis=-1, keepdims=True)


def log_softmax(ops: Ops, scores: Array, legal: Array) -> Array:
    """Return log probabilities over the last axis; those of what is not legal are about -1e9."""
    kept = ops.where(legal, scores, NOWHERE)
    shifted = kept - ops.max(kept, axis=-1, keepdims=True)
    return shifted - ops.log(ops.sum(ops.exp(shifted), axis=-1, keepdims=True))


def attention(
    ops: Ops,
    weights: Weights,
    name: str,
    x: Array,
    *,
    of: Array | None = None,
    mask: Array | None = None,
    heads: int = 1,
) -> Array:
    """Attend from `x` to `of`, or to `x` itself.

    Parameters
    ----------
    ops : Ops
        The library.
    weights : mapping of str to array
        Holds linear layers ``name.q``, ``name.k``, ``name.v`` and ``name.o``.
    name : str
        Of the layer.
    x : array, [..., queries, width]
        Who looks.
    of : array, [..., keys, width], or None
        What is looked at.
    mask : array of bool that fits [..., queries, keys], or None
        True where a query may see a key; each must see one.
    heads : int
        Divides the width of ``name.q``.

    Returns
    -------
    array, [..., queries, width]
    """
    seen = x if of is None else of
    queries = _split(ops, linear(weights, f"{name}.q", x), heads)
    keys = _split(ops, linear(weights, f"{name}.k", seen), heads)
    values = _split(ops, linear(weights, f"{name}.v", seen), heads)
    scores = queries @ ops.swapaxes(keys, -1, -2) / float(queries.shape[-1]) ** 0.5
    if mask is not None:
        scores = ops.where(mask if heads == 1 else mask[..., None, :, :], scores, NOWHERE)
    mixed = softmax(ops, scores) @ values
    return linear(weights, f"{name}.o", _joined(ops, mixed, heads))


def _split(ops: Ops, x: Array, heads: int) -> Array:
    if heads == 1:
        return x
    return ops.swapaxes(x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads), -2, -3)


def _joined(ops: Ops, x: Array, heads: int) -> Array:
    if heads == 1:
        return x
    x = ops.swapaxes(x, -2, -3)
    return x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])


# First weights ---------------------------------------------------------------------------------------------------


def init_linear(rng: np.random.Generator, name: str, num_in: int, num_out: int, gain: float = 2**0.5) -> NumpyWeights:
    """Draw an orthogonal linear layer, scaled by `gain`."""
    drawn = rng.normal(size=(max(num_in, num_out), min(num_in, num_out)))
    q, r = np.linalg.qr(drawn)
    q = q * np.sign(np.diagonal(r))
    matrix = q if num_in >= num_out else q.T
    return {f"{name}.w": (gain * matrix).astype(np.float32), f"{name}.b": np.zeros(num_out, np.float32)}


def init_mlp(rng: np.random.Generator, name: str, sizes: Sequence[int], last_gain: float = 1.0) -> NumpyWeights:
    """Draw the layers of an `mlp` with these widths, input and output included; `last_gain` is that of the last."""
    made: NumpyWeights = {}
    for depth, (num_in, num_out) in enumerate(itertools.pairwise(sizes)):
        gain = last_gain if depth == len(sizes) - 2 else 2**0.5
        made |= init_linear(rng, f"{name}.{depth}", num_in, num_out, gain)
    return made


def init_norm(name: str, width: int) -> NumpyWeights:
    """Return a layer normalisation that changes no scale."""
    return {f"{name}.w": np.ones(width, np.float32), f"{name}.b": np.zeros(width, np.float32)}


def init_attention(
    rng: np.random.Generator, name: str, width: int, of_width: int = 0, inner: int = 0
) -> NumpyWeights:  # fmt: skip
    """Draw an `attention` from vectors of `width` to vectors of `of_width` (its own if 0), `inner` wide inside."""
    inner, of_width = inner or width, of_width or width
    ends = {"q": (width, inner), "k": (of_width, inner), "v": (of_width, inner), "o": (inner, width)}
    made: NumpyWeights = {}
    for part, (num_in, num_out) in ends.items():
        made |= init_linear(rng, f"{name}.{part}", num_in, num_out, 1.0)
    return made


# Files -----------------------------------------------------------------------------------------------------------


def save(path: Path, weights: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write weights and where they are from to an ``.npz`` file, as a whole or not at all."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {ABOUT: np.array(json.dumps(about)), **weights}
    np.savez_compressed(buffer, **arrays)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(path)


def load(path: Path, like: Mapping[str, npt.NDArray[Any]] | None = None) -> NumpyWeights:
    """Read weights.

    Parameters
    ----------
    path : Path
        Of an ``.npz`` file.
    like : mapping of str to array or None
        Weights whose names and shapes those of the file must have.

    Raises
    ------
    ConfigError
        When it is no such file, or its weights are for another network.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if name != ABOUT}
    except FileNotFoundError as error:
        raise ConfigError(
            f"weights: {path} must be a file, found none. Train it: `headway train ID --out FILE`."
        ) from error
    except Exception as error:  # numpy raises whatever its readers raise
        raise ConfigError(f"weights: {path} must be an .npz file of weights, got: {error}. Train it again.") from error
    for name, array in (like or {}).items():
        if name not in found or found[name].shape != array.shape:
            shape = found[name].shape if name in found else "none"
            raise ConfigError(
                f"weights: {path} must hold {name} of shape {array.shape}, got {shape}. It is for another network."
            )
    return found


def about(path: Path) -> dict[str, Any]:
    """Return what a file of weights says of itself."""
    with np.load(path, allow_pickle=False) as file:
        told: dict[str, Any] = json.loads(str(file[ABOUT])) if ABOUT in file.files else {}
    return told
