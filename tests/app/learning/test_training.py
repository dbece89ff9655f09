"""Teaching through the one door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from headway.app.learning import training
from headway.app.learning.training import Spending, TrainNews, TrainSpec, train, trainable
from headway.core import catalogue
from headway.core.errors import ConfigError, UnknownName
from headway.numerics import nets
from headway.numerics.nets import NumpyWeights


def teach(spec: TrainSpec) -> NumpyWeights:
    """Learn nothing, and say so."""
    spec.tell(TrainNews(0.5, {"reward": 1.0}))
    return {"w": np.full(3, float(spec.seed), np.float32)}


def test_what_was_learnt_is_kept_with_where_it_is_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(catalogue.find("serving/sarathi"), train=f"{__name__}:teach")
    monkeypatch.setattr(training.catalogue, "find", lambda _: row)
    monkeypatch.setattr(training.catalogue, "resolve", lambda _: teach)
    told: list[TrainNews] = []
    about = train("serving/sarathi", TrainSpec(seed=4, budget_s=5.0, tell=told.append), tmp_path / "w.npz")
    np.testing.assert_array_equal(nets.load(tmp_path / "w.npz")["w"], [4.0, 4.0, 4.0])
    assert nets.about(tmp_path / "w.npz") == about
    assert (about["id"], about["seed"], about["num_weights"]) == ("serving/sarathi", 4, 3)
    assert [news.done_frac for news in told] == [0.5]


def test_those_who_do_not_learn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="serving/sarathi must learn in advance, it does not"):
        train("serving/sarathi", TrainSpec(seed=0, budget_s=1.0), tmp_path / "w.npz")
    with pytest.raises(UnknownName):
        train("shop/nobody", TrainSpec(seed=0, budget_s=1.0), tmp_path / "w.npz")


def test_every_row_that_learns_names_its_teacher() -> None:
    for id_ in trainable():
        assert callable(catalogue.resolve(catalogue.find(id_).train))


def test_a_budget_is_spent_by_computing() -> None:
    spending = Spending(0.05)
    before = spending.done_frac
    while spending.done_frac < 1.0:
        sum(range(1000))
    assert before < 1.0
