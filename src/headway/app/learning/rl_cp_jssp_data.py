"""What shop/rl-cp-jssp learns from: drawn job shops, choices that were made in them, and how likely they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec import Struct

from headway.app.learning.torch_ops import TORCH
from headway.core.learning import Features
from headway.numerics.nets import NUMPY, NumpyWeights, log_softmax
from headway.policies.shop.problem import Problem
from headway.policies.shop.rl_cp_jssp_env import Decide, Ints, Kept, Shops, tables
from headway.policies.shop.rl_cp_jssp_net import forward

FIXED = "place"
"""The code of places is not trained."""


class Choices(Struct, frozen=True, kw_only=True):
    """Choices with what was seen before them.

    Parameters
    ----------
    features : dict of str to array, [rounds, ...]
        What was seen.
    of_round, action : array of int, [choices]
        The round of each choice and the row chosen; the last row is the No-Op.
    shop, turn : array of int, [choices]
        In which shop it was made, after how many others there.
    legal : array of bool, [choices, rows + 1]
        What could be chosen.
    """

    features: Features
    of_round: Ints
    action: Ints
    shop: Ints
    turn: Ints
    legal: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.action)

    def at(self, chosen: npt.NDArray[Any]) -> Choices:
        """Return some of the choices, with the rounds that they need."""
        rounds, of_round = np.unique(self.of_round[chosen], return_inverse=True)
        return Choices(
            features={name: array[rounds] for name, array in self.features.items()},
            of_round=of_round,
            action=self.action[chosen],
            shop=self.shop[chosen],
            turn=self.turn[chosen],
            legal=self.legal[chosen],
        )


def decider(weights: Mapping[str, npt.NDArray[Any]]) -> Decide:
    """Return the network as a function of features alone, in double precision, so that batches do not matter."""
    exact = {name: array.astype(np.float64) for name, array in weights.items()}
    return lambda features: forward(NUMPY, exact, features)[0]


def valid_makespan(weights: Mapping[str, npt.NDArray[Any]], problems: Sequence[Problem]) -> float:
    """Return the mean makespan of the greedy policy over the lower bound of each problem."""
    found = tables(problems)
    shops = Shops(found)
    shops.run(decider(weights))
    return float(np.mean(shops.makespans / bounds(problems)))


def bounds(problems: Sequence[Problem]) -> Ints:
    """Return the longest job or the heaviest machine of each problem."""
    found = tables(problems)
    longest = found.duration.sum(2).max(1)
    heaviest = [
        np.bincount(machine.ravel(), duration.ravel()).max()
        for machine, duration in zip(found.machine, found.duration, strict=True)
    ]
    return np.asarray(np.maximum(longest, heaviest), np.int64)


def joined(kept: Sequence[Kept]) -> Choices:
    """Join rounds of different widths."""
    most = max(one.legal.shape[1] - 1 for one in kept)
    sizes = [len(one.features["ops"]) for one in kept]
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    features = {name: np.concatenate([_wide(one.features[name], name, most) for one in kept]) for name in _names(kept)}
    features["valid"][..., 0] = True
    features["rivals"] |= np.eye(most, dtype=np.bool_)
    return Choices(
        features=features,
        of_round=np.concatenate([one.of_round + offset for one, offset in zip(kept, offsets, strict=True)]),
        action=np.concatenate([np.where(one.action == one.legal.shape[1] - 1, most, one.action) for one in kept]),
        shop=np.concatenate([one.shop for one in kept]),
        turn=np.concatenate([one.turn for one in kept]),
        legal=np.concatenate([_wide_legal(one.legal, most) for one in kept]),
    )


def by_width(kept: Sequence[Kept], most: int = 8000) -> Iterator[Choices]:
    """Join rounds of similar widths, so that little is padded; about `most` rows at a time."""
    part: list[Kept] = []
    num = 0
    for one in sorted(kept, key=lambda one: one.legal.shape[1]):
        part.append(one)
        num += one.features["ops"].shape[0] * one.features["ops"].shape[1]
        if num > most:
            yield joined(part)
            part, num = [], 0
    if part:
        yield joined(part)


def log_probs(weights: Mapping[str, torch.Tensor], choices: Choices) -> torch.Tensor:
    """Return the log probability of each choice, [choices]."""
    features = {name: TORCH.asarray(array) for name, array in choices.features.items()}
    scores = forward(TORCH, weights, features)[0]
    found = log_softmax(TORCH, scores[torch.as_tensor(choices.of_round)], torch.as_tensor(choices.legal))
    chosen: torch.Tensor = found.gather(1, torch.as_tensor(choices.action)[:, None])[:, 0]
    return chosen


def trained(weights: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the tensors that gradients flow to."""
    return [tensor for name, tensor in weights.items() if name != FIXED]


def optimiser(weights: Mapping[str, torch.Tensor], rate: float) -> torch.optim.Adam:
    """Return Adam with the epsilon of the publication."""
    weights[FIXED].requires_grad_(False)
    return torch.optim.Adam(trained(weights), lr=rate, eps=1e-5)


def first(rng: np.random.Generator, start: NumpyWeights | None, columns: int = 6) -> NumpyWeights:
    """Return the weights to begin with; `columns` says how much of an operation new ones see, 4 as published or 6."""
    from headway.policies.shop.rl_cp_jssp_net import init

    return start if start is not None else init(rng, columns=columns)


def _names(kept: Sequence[Kept]) -> list[str]:
    return list(kept[0].features)


def _wide(array: npt.NDArray[Any], name: str, most: int) -> npt.NDArray[Any]:
    more = [(0, 0)] * array.ndim
    more[1] = (0, most - array.shape[1])
    if name == "rivals":
        more[2] = more[1]
    return np.pad(array, more)


def _wide_legal(legal: npt.NDArray[np.bool_], most: int) -> npt.NDArray[np.bool_]:
    found = np.zeros((len(legal), most + 1), np.bool_)
    found[:, : legal.shape[1] - 1] = legal[:, :-1]
    found[:, most] = legal[:, -1]
    return found
