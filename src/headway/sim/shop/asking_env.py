"""Whatever asks questions, as a gymnasium environment in which an outside agent answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.catalogue import resolve
from headway.core.errors import missing_extra
from headway.core.learning import Asking, Question

try:
    import gymnasium
except ImportError as error:
    raise missing_extra("gymnasium", "shop", "for its environments") from error

Observation = dict[str, npt.NDArray[Any]]
Start = Callable[[int], Asking[float]]
MOST = float(np.finfo(np.float32).max)
MAX_TRIES = 100
"""So many episodes without a question in a row mean that there is nothing to learn."""


class AskingEnv(gymnasium.Env):  # type: ignore[misc]
    """An environment whose observations are the features of questions, and whose actions are the answers.

    Which actions are legal is in ``info["action_mask"]`` (int8, as `Discrete.sample` takes it). An action that is not
    legal is replaced by the next one that is, counting upwards and around, and ``info["replaced"]`` says so; nothing
    else depends on it, so that agents which know no masks can be trained all the same.

    Parameters
    ----------
    start : callable of (seed) -> Asking, or str
        Begins an episode; or ``"module:function"`` of such a function. Its questions have features of one shape each.
    """

    def __init__(self, start: Start | str) -> None:
        self._start: Start = resolve(start) if isinstance(start, str) else start
        self._asking, self._question = self._begin(0)
        features = self._question.features
        self.observation_space = gymnasium.spaces.Dict({name: _box(array) for name, array in features.items()})
        self.action_space = gymnasium.spaces.Discrete(len(self._question.legal))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode that `seed` determines, or the one that follows from earlier ones."""
        super().reset(seed=seed, options=options)
        self._asking.close()
        self._asking, self._question = self._begin(int(self.np_random.integers(2**31)))
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Answer the question at hand; the episode ends with its last question."""
        legal = self._question.legal
        taken = int(np.argmax(np.roll(legal, -int(action))) + action) % len(legal)
        try:
            self._question = self._asking.send(taken)
            reward, is_over = self._question.reward, False
        except StopIteration as end:
            reward, is_over = end.value, True
        return self._observation(), float(reward), is_over, False, self._info() | {"replaced": taken != int(action)}

    def _begin(self, seed: int) -> tuple[Asking[float], Question]:
        for more in range(MAX_TRIES):
            asking = self._start(seed + more)
            try:
                return asking, next(asking)
            except StopIteration:
                continue  # nothing was to be decided there
        raise RuntimeError(f"AskingEnv: an episode must ask a question, got none in {MAX_TRIES} from seed {seed} on.")

    def _observation(self) -> Observation:
        return {name: array.astype(_kind(array)) for name, array in self._question.features.items()}  # always copies

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self._question.legal.astype(np.int8)}


def _kind(array: npt.NDArray[Any]) -> type[np.generic]:
    """Return of which kind an observation of an array is: whole numbers stay such."""
    return np.float32 if array.dtype.kind == "f" else np.int64


def _box(array: npt.NDArray[Any]) -> gymnasium.spaces.Box:
    if _kind(array) is np.float32:
        return gymnasium.spaces.Box(-MOST, MOST, array.shape, np.float32)
    limits = np.iinfo(np.int64)
    return gymnasium.spaces.Box(limits.min, limits.max, array.shape, np.int64)
