"""Proximal policy optimisation of whatever puts its decisions as questions.

Episodes are played side by side with numpy, which is several times as fast as torch on small networks; only the
improvement of the weights runs in torch. Source: Schulman et al., "Proximal Policy Optimization Algorithms", 2017,
arXiv 1707.06347; advantages after Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage
Estimation", 2016, arXiv 1506.02438.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from msgspec import Struct

from headway.app.learning.torch_ops import TORCH
from headway.core.learning import Asking, Features, Question
from headway.numerics.nets import NUMPY, Weights, log_softmax

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Forward: TypeAlias = Callable[[Any, Any, Any], tuple[Any, Any]]
"""(ops, weights, features) -> (scores [batch, actions], value [batch]); in numpy or torch alike."""


class Episode(Struct, frozen=True, kw_only=True):
    """What was asked and answered in one run of an asking, step by step.

    Parameters
    ----------
    features : dict of str to array, each [steps, ...]
        What was seen.
    legal : array of bool, [steps, actions]
        What could be chosen.
    actions : array of int, [steps]
        What was chosen.
    log_probs, values : array, [steps]
        What the network made of it: the log-probability of the choice, the return expected.
    rewards : array, [steps]
        What came in after each choice, before the next question.
    place : int
        Which of the askings it was.
    """

    features: Features
    legal: npt.NDArray[np.bool_]
    actions: npt.NDArray[np.int64]
    log_probs: Floats
    values: Floats
    rewards: Floats
    place: int = 0


class Batch(Struct, frozen=True, kw_only=True):
    """Steps of several episodes, with what each choice brought beyond what was expected.

    The parameters are those of `Episode`, and `advantages` and `returns`, each [steps].
    """

    features: Features
    legal: npt.NDArray[np.bool_]
    actions: npt.NDArray[np.int64]
    log_probs: Floats
    advantages: Floats
    returns: Floats

    def __len__(self) -> int:
        return len(self.actions)


class _Run:
    """One asking under way, and what was noted of it."""

    def __init__(self, place: int, asking: Asking[float]) -> None:
        self._place = place
        self._asking = asking
        self.question: Question | None = None
        self._steps: list[tuple[Question, int, float, float]] = []
        self._rewards: list[float] = []

    def begin(self) -> bool:
        """Ask the first question; says whether there is one."""
        try:
            self.question = next(self._asking)
        except StopIteration:
            self.question = None
        return self.question is not None

    def answer(self, action: int, log_prob: float, value: float) -> bool:
        """Answer the question at hand; says whether there is another."""
        assert self.question is not None
        self._steps.append((self.question, action, log_prob, value))
        try:
            self.question = self._asking.send(action)
            self._rewards.append(self.question.reward)
        except StopIteration as end:
            self.question = None
            self._rewards.append(float(end.value))
        return self.question is not None

    def episode(self) -> Episode:
        """Put together what was noted."""
        questions, actions, log_probs, values = zip(*self._steps, strict=True)
        return Episode(
            features=_stacked(questions),
            legal=np.stack([question.legal for question in questions]),
            actions=np.array(actions, dtype=np.int64),
            log_probs=np.array(log_probs),
            values=np.array(values),
            rewards=np.array(self._rewards),
            place=self._place,
        )


def collect(
    askings: Sequence[Asking[float]],
    forward: Forward,
    weights: Weights,
    rng: np.random.Generator,
    *,
    greedy: bool = False,
) -> list[Episode]:
    """Play askings to their ends side by side, drawing each answer from what the network says.

    Parameters
    ----------
    askings : sequence of Asking
        Each returns the reward after its last question; all ask with features of the same shapes.
    forward : callable of (ops, weights, features) -> (scores, value)
        The network; it is evaluated once for all questions that are open.
    weights : mapping of str to numpy array
        Its weights.
    rng : Generator
        For the draws.
    greedy : bool
        Whether to take the likeliest answer instead; False.

    Returns
    -------
    list of Episode
        In the order of the askings; those that asked nothing are left out. A reward of the first question follows no
        choice and is dropped.
    """
    runs = [_Run(place, asking) for place, asking in enumerate(askings)]
    begun = live = [run for run in runs if run.begin()]
    while live:
        questions = [run.question for run in live if run.question]
        actions, log_probs, values = _answers(questions, forward, weights, None if greedy else rng)
        live = [run for place, run in enumerate(live) if run.answer(actions[place], log_probs[place], values[place])]
    return [run.episode() for run in begun]


def advantages(episode: Episode, gamma: float = 1.0, lam: float = 0.95) -> tuple[Floats, Floats]:
    """Return by how much each choice did better than expected, and the return from there on, each [steps].

    Parameters
    ----------
    episode : Episode
        What was played, to its end.
    gamma : float
        What a reward one step later is worth, in (0, 1]; 1.
    lam : float
        How far the rewards that came are believed rather than the value expected, in [0, 1]; 0.95.
    """
    following = np.append(episode.values[1:], 0.0)
    surprises = episode.rewards + gamma * following - episode.values
    found, carried = np.empty_like(surprises), 0.0
    for step in range(len(surprises) - 1, -1, -1):
        found[step] = carried = surprises[step] + gamma * lam * carried
    return found, found + episode.values


def batch_of(episodes: Sequence[Episode], gamma: float = 1.0, lam: float = 0.95) -> Batch:
    """Put the steps of episodes together; advantages are shifted and scaled to mean 0 and deviation 1."""
    both = [advantages(episode, gamma, lam) for episode in episodes]
    gains = np.concatenate([gain for gain, _ in both])
    return Batch(
        features={name: np.concatenate([one.features[name] for one in episodes]) for name in episodes[0].features},
        legal=np.concatenate([one.legal for one in episodes]),
        actions=np.concatenate([one.actions for one in episodes]),
        log_probs=np.concatenate([one.log_probs for one in episodes]),
        advantages=(gains - gains.mean()) / (gains.std() + 1e-8),
        returns=np.concatenate([returns for _, returns in both]),
    )


def improve(
    weights: Mapping[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
    forward: Forward,
    batch: Batch,
    rng: np.random.Generator,
    *,
    clip: float = 0.2,
    epochs: int = 4,
    minibatch: int = 256,
    entropy: float = 0.01,
    value: float = 0.5,
    max_kl: float = 0.03,
    max_norm: float = 0.5,
) -> dict[str, float]:
    """Take gradient steps that make good choices likelier, never far from the weights that chose.

    Parameters
    ----------
    weights : mapping of str to tensor
        What is improved, in place; each requires a gradient.
    optimizer : Optimizer
        Over these weights.
    forward : callable of (ops, weights, features) -> (scores, value)
        The network.
    batch : Batch
        What was played with the weights as they are.
    rng : Generator
        For the order of steps.
    clip : float
        By how much a choice may become likelier before it stops to count, > 0; 0.2.
    epochs : int
        How often each step is seen, >= 1; 4.
    minibatch : int
        How many steps are seen at once, >= 1; 256.
    entropy, value : float
        Weights of the bonus for indecision and of the error of the value, >= 0; 0.01 and 0.5.
    max_kl : float
        It ends early when the answers have moved by this much (mean divergence), > 0; 0.03.
    max_norm : float
        Gradients are cut to this norm, > 0; 0.5.

    Returns
    -------
    dict of str to float
        Of the last epoch: ``"loss"``, ``"value_error"``, ``"entropy"``, ``"kl"``.
    """
    tensors = _tensors(batch, next(iter(weights.values())).dtype)
    seen: list[list[float]] = []
    for _ in range(epochs):
        seen = []
        for part in _parts(len(batch), minibatch, rng):
            chosen = {name: tensor[part] for name, tensor in tensors.items()}
            loss, numbers = _loss(weights, forward, chosen, clip, entropy, value)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(list(weights.values()), max_norm)
            optimizer.step()
            seen.append(numbers)
        if np.mean([numbers[3] for numbers in seen]) > max_kl:
            break
    means = np.mean(seen, axis=0)
    return dict(zip(("loss", "value_error", "entropy", "kl"), map(float, means), strict=True))


def _answers(
    questions: list[Question], forward: Forward, weights: Weights, rng: np.random.Generator | None
) -> tuple[list[int], list[float], list[float]]:
    scores, values = forward(NUMPY, weights, _stacked(questions))
    log_probs = log_softmax(NUMPY, scores, np.stack([question.legal for question in questions]))
    actions = np.argmax(log_probs + (rng.gumbel(size=log_probs.shape) if rng else 0.0), axis=1)
    return actions.tolist(), log_probs[np.arange(len(actions)), actions].tolist(), values.tolist()


def _stacked(questions: Sequence[Question]) -> Features:
    return {name: np.stack([question.features[name] for question in questions]) for name in questions[0].features}


def _tensors(batch: Batch, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    floats = {"log_probs": batch.log_probs, "advantages": batch.advantages, "returns": batch.returns}
    found = {name: torch.as_tensor(array, dtype=dtype) for name, array in floats.items()}
    found |= {"legal": torch.as_tensor(batch.legal), "actions": torch.as_tensor(batch.actions)}
    return found | {f"features.{name}": torch.as_tensor(array) for name, array in batch.features.items()}


def _parts(num: int, size: int, rng: np.random.Generator) -> list[torch.Tensor]:
    order = rng.permutation(num)
    return [torch.as_tensor(part) for part in np.array_split(order, max(1, round(num / size)))]


def _loss(
    weights: Mapping[str, torch.Tensor],
    forward: Forward,
    chosen: Mapping[str, torch.Tensor],
    clip: float,
    entropy: float,
    value: float,
) -> tuple[torch.Tensor, list[float]]:
    features = {name.partition(".")[2]: tensor for name, tensor in chosen.items() if name.startswith("features.")}
    scores, values = forward(TORCH, weights, features)
    all_log_probs = log_softmax(TORCH, scores, chosen["legal"])
    log_probs = all_log_probs.gather(1, chosen["actions"][:, None])[:, 0]
    ratio = torch.exp(log_probs - chosen["log_probs"])
    gain = torch.minimum(ratio * chosen["advantages"], ratio.clamp(1 - clip, 1 + clip) * chosen["advantages"]).mean()
    error = ((values - chosen["returns"]) ** 2).mean()
    likely = torch.where(chosen["legal"], all_log_probs, 0.0)  # what is not legal is never drawn and adds nothing
    indecision = -(torch.exp(likely) * likely * chosen["legal"]).sum(1).mean()
    divergence = (ratio - 1 - torch.log(ratio)).mean()
    loss = value * error - gain - entropy * indecision
    return loss, [one.item() for one in (loss, error, indecision, divergence)]
