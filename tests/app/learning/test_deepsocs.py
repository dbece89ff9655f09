"""How DeepSoCS is taught: the baseline that runs with time, and that a little teaching helps."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from headway.app.learning import deepsocs
from headway.app.learning.deepsocs import Played, advantages, train
from headway.app.learning.ppo import Episode
from headway.app.learning.training import TrainNews, TrainSpec
from headway.policies.shop.deepsocs_net import first_weights


def played(at_s: list[float], rewards: list[float]) -> Played:
    num = len(rewards)
    none = np.zeros(num)
    episode = Episode(
        features={}, legal=np.ones((num, 2), np.bool_), actions=none.astype(np.int64), log_probs=none, values=none,
        rewards=np.array(rewards),
    )  # fmt: skip
    return Played(episode, np.array(at_s))


def test_returns_are_held_against_the_mean_at_the_same_time() -> None:
    quick = played([0.0, 10.0], [1.0, 3.0])  # returns 4 and 3
    slow = played([0.0, 20.0], [1.0, 1.0])  # returns 2 and 1; at 10 s it is 1.5
    first, second = advantages([quick, slow], gamma=1.0)
    np.testing.assert_allclose(first, [1.0, (3.0 - 1.5) / 2])
    np.testing.assert_allclose(second, [-1.0, (1.0 - 3.0) / 2])
    assert np.allclose(list(advantages([quick, quick])), 0.0)


def test_a_little_teaching_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepsocs, "VALID_JOBS", 10)
    monkeypatch.setattr(deepsocs, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(deepsocs, "NUM_JOBS", 6)
    monkeypatch.setattr(deepsocs, "ROLLOUTS", 4)
    tabled = deepsocs.settings()[:1]
    monkeypatch.setattr(deepsocs, "settings", lambda: (msgspec.structs.replace(tabled[0], share=1.0),))
    news = list[TrainNews]()
    first = first_weights(np.random.default_rng(0))
    before = deepsocs.validated(first)
    weights = train(TrainSpec(seed=0, budget_s=0.8, tell=news.append))
    assert {name: one.shape for name, one in weights.items()} == {name: one.shape for name, one in first.items()}
    assert deepsocs.validated(weights) <= before
    assert news
    assert all(one.numbers["best"] <= before for one in news)
