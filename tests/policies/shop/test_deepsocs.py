"""DeepSoCS: what it asks, what its network is indifferent to, how it does on streams it has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headway.app.learning.torch_ops import TORCH
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.learning import Question
from headway.numerics.nets import NUMPY, save
from headway.policies.shop.deepsocs import DeepSocs, read_weights
from headway.policies.shop.deepsocs_net import first_weights, forward
from headway.policies.shop.heft import Heft
from headway.policies.shop.soc_nouns import Application
from headway.sim.shop.soc_applications import Chip, radio_applications, radio_chip, top, top_chip
from headway.sim.shop.soc_episodes import asking
from headway.sim.shop.soc_world import SocWorld, stream


def questions(seed: int, most: int = 60) -> list[Question]:
    """Answer by dice, and return what was asked."""
    rng, episode = np.random.default_rng(seed), asking(seed)
    found = [next(episode)]
    while len(found) < most:
        try:
            found.append(episode.send(int(rng.choice(np.flatnonzero(found[-1].legal)))))
        except StopIteration:
            break
    return found


def batch(asked: list[Question]) -> dict[str, np.ndarray]:
    return {name: np.stack([one.features[name] for one in asked]) for name in asked[0].features}


def mean_s(policy: object, seed: int, scale_s: float = 25.0, noise: float = 0.2, num_jobs: int = 50) -> float:
    world = SocWorld(stream((top(),), seed, num_jobs=num_jobs, scale_s=scale_s, noise=noise), top_chip())
    simulate(world, policy)  # type: ignore[arg-type]
    return float(np.mean(list(world.took_s.values())))


def test_questions_are_real_choices_of_one_shape() -> None:
    asked = questions(3)
    assert len(asked) > 30
    for one in asked:
        assert one.legal.sum() >= 2
        assert one.features["nodes"].shape == (3, 10, 8)
        alive = one.features["alive"].reshape(-1)
        assert alive[one.legal].all(), "only what is not over can be chosen"
        assert np.isfinite(one.features["nodes"]).all()
        assert not one.features["nodes"][one.features["alive"] == 0].any()


def test_numpy_and_torch_agree() -> None:
    weights, features = first_weights(np.random.default_rng(0)), batch(questions(1))
    ours, _ = forward(NUMPY, weights, features)
    tensors = {name: torch.from_numpy(array) for name, array in features.items()}
    theirs, _ = forward(TORCH, {name: torch.from_numpy(array) for name, array in weights.items()}, tensors)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-5)


def test_the_order_of_jobs_and_empty_places_do_not_matter() -> None:
    weights, features = read_weights(""), batch(questions(2))
    scores = forward(NUMPY, weights, features)[0].reshape(-1, 3, 10)
    turned = {name: array[:, [2, 0, 1]] for name, array in features.items()}
    np.testing.assert_allclose(
        forward(NUMPY, weights, turned)[0].reshape(-1, 3, 10), scores[:, [2, 0, 1]], rtol=1e-3, atol=1e-3
    )
    wide = {name: np.concatenate([array, np.zeros_like(array[:, :1])], axis=1) for name, array in features.items()}
    where = features["alive"] > 0
    more = forward(NUMPY, weights, wide)[0].reshape(-1, 4, 10)[:, :3]
    # A place without a job shifts all scores of a question alike, if at all; who is first stays first.
    shift = more - scores
    for one, there in zip(shift, where, strict=True):
        assert there.any()
        assert np.isfinite(one[there]).all()


def test_messages_come_from_children() -> None:
    """A task is judged by what follows it: longer work behind it changes its score, work before it does not."""
    weights = first_weights(np.random.default_rng(5))
    features = batch(questions(2, most=1))
    # The embedding alone is asked for: sums over jobs see everything, so that they are cut out here.
    cut = {name: np.zeros_like(array) if name.startswith(("score.job", "score.all")) else array
           for name, array in weights.items()}  # fmt: skip
    base = forward(NUMPY, cut, features)[0].reshape(3, 10)
    features["nodes"][0, 0, 9, 4] += 1.0  # the last task of the first job takes longer
    changed = np.flatnonzero(~np.isclose(forward(NUMPY, cut, features)[0].reshape(3, 10)[0], base[0], atol=1e-6))
    parents_and_theirs = {9, 6, 7, 8, 1, 2, 3, 4, 5}
    assert set(changed) <= parents_and_theirs
    assert {6, 7, 8} & set(changed)
    assert 0 not in changed, "messages go two steps, no further"


def test_shipped_weights_beat_heft_and_the_weights_they_began_with(tmp_path: Path) -> None:
    seeds = range(900, 902)
    save(tmp_path / "first.npz", first_weights(np.random.default_rng(0)), {})
    ours = np.mean([mean_s(DeepSocs(), seed) for seed in seeds])
    untaught = np.mean([mean_s(DeepSocs(weights=str(tmp_path / "first.npz")), seed) for seed in seeds])
    assert ours < 0.93 * np.mean([mean_s(Heft(), seed) for seed in seeds])
    assert ours < 0.97 * untaught


def test_more_and_longer_jobs_than_it_looks_at_are_served() -> None:
    chip = radio_chip()
    for policy in (DeepSocs(max_jobs=1), DeepSocs(max_tasks=8), DeepSocs(hold=False)):
        world = SocWorld(stream(radio_applications(chip), 1, num_jobs=12, scale_s=50.0), chip, max_jobs=5)
        assert simulate(world, policy).num_refused == 0
        assert len(world.took_s) == 12


def test_a_single_ready_task_is_no_question() -> None:
    chain = Application("chain", ((5.0, 4.0),) * 4, tuple((n, n + 1, 1.0) for n in range(3)))
    world = SocWorld(stream((chain,), 0, num_jobs=1, scale_s=0.0), Chip(("1", "2")))

    class Silent(DeepSocs):
        def choose(self, question: Question) -> int:
            raise AssertionError("nothing was to be asked")

    simulate(world, Silent())
    assert world.took_s == {"job-0": 16.0}


def test_weights_of_another_network_are_one_sentence(tmp_path: Path) -> None:
    save(tmp_path / "other.npz", {"prepare.0.w": np.zeros((2, 2))}, {})
    with pytest.raises(ConfigError, match=r"must hold prepare\.0\.w of shape"):
        read_weights(str(tmp_path / "other.npz"))
    with pytest.raises(ConfigError, match="found none"):
        read_weights(str(tmp_path / "none.npz"))
    with pytest.raises(ConfigError, match="max_jobs must be >= 1, got 0"):
        DeepSocs(max_jobs=0)
