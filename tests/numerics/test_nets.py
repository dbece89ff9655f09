"""Small networks: both libraries agree, and files say what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.numerics import nets
from headway.numerics.nets import NUMPY, Array, NumpyWeights, Ops, Weights

torch = pytest.importorskip("torch")


def drawn() -> NumpyWeights:
    rng = np.random.default_rng(0)
    return {
        **nets.init_mlp(rng, "mlp", [6, 8, 8], last_gain=0.5),
        **nets.init_norm("norm", 8),
        **nets.init_attention(rng, "attention", 8),
        **nets.init_attention(rng, "cross", 8, of_width=6, inner=4),
    }


def whole(ops: Ops, weights: Weights, x: Array, mask: Array) -> Array:
    hidden = nets.norm(ops, weights, "norm", nets.mlp(ops, weights, "mlp", x))
    hidden = hidden + nets.attention(ops, weights, "attention", hidden, mask=mask, heads=2)
    hidden = hidden + nets.attention(ops, weights, "cross", hidden, of=x, mask=mask)
    return nets.log_softmax(ops, hidden, hidden > -1.0)


def test_numpy_and_torch_agree() -> None:
    from headway.app.learning.torch_ops import TORCH, to_numpy, to_torch

    rng, weights = np.random.default_rng(1), drawn()
    x = rng.normal(size=(3, 5, 6)).astype(np.float32)
    mask = rng.random((3, 5, 5)) < 0.5
    mask |= np.eye(5, dtype=bool)
    ours = whole(NUMPY, weights, x, mask)
    theirs = whole(TORCH, to_torch(weights), torch.as_tensor(x), torch.as_tensor(mask))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert all(np.array_equal(to_numpy(to_torch(weights))[name], array) for name, array in weights.items())


def test_attention_sees_what_the_mask_shows() -> None:
    rng, weights = np.random.default_rng(2), drawn()
    x = rng.normal(size=(1, 4, 8)).astype(np.float32)
    first = nets.attention(NUMPY, weights, "attention", x, mask=np.tril(np.ones((4, 4), bool)), heads=2)
    x[:, 3] += 10
    second = nets.attention(NUMPY, weights, "attention", x, mask=np.tril(np.ones((4, 4), bool)), heads=2)
    np.testing.assert_array_equal(first[:, :3], second[:, :3])
    assert np.abs(first[:, 3] - second[:, 3]).max() > 0.1


def test_what_is_not_legal_has_no_chance() -> None:
    legal = np.array([[True, False, True]])
    chances = np.exp(nets.log_softmax(NUMPY, np.array([[1.0, 50.0, 1.0]], np.float32), legal))
    np.testing.assert_allclose(chances, [[0.5, 0.0, 0.5]])


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    path, weights = tmp_path / "w.npz", drawn()
    nets.save(path, weights, {"seed": 3})
    found = nets.load(path, like=weights)
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[name], array) for name, array in weights.items())
    assert nets.about(path) == {"seed": 3}
    assert list(tmp_path.iterdir()) == [path]


def wider(weights: NumpyWeights) -> dict[str, Any]:
    return {**weights, "norm.w": np.ones(9, np.float32)}


def more(weights: NumpyWeights) -> dict[str, Any]:
    return {**weights, "other.w": np.ones(9, np.float32)}


@pytest.mark.parametrize("change", [wider, more])
def test_weights_of_another_network_are_refused(tmp_path: Path, change: Callable[[NumpyWeights], Any]) -> None:
    nets.save(tmp_path / "w.npz", drawn(), {})
    with pytest.raises(ConfigError, match="It is for another network"):
        nets.load(tmp_path / "w.npz", like=change(drawn()))


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"not an archive")
    with pytest.raises(ConfigError, match=r"must be an \.npz file"):
        nets.load(tmp_path / "w.npz")
    with pytest.raises(ConfigError, match="found none"):
        nets.load(tmp_path / "nothing.npz")
