"""Dispatching rules: each puts first what its name says."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.policies.shop.dispatch import Dispatch
from headway.policies.shop.rules import ALIASES, NAMES, rule
from headway.policies.shop.seats_dispatch import Ready

SHORT = Ready(task="a.1", duration_s=2, work_left_s=9, num_left=3, job_work_s=12, ready_since_s=5, due_s=30, number=1)
LONG = Ready(task="b.0", duration_s=6, work_left_s=6, num_left=1, job_work_s=6, ready_since_s=1, due_s=20, number=0)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("fifo", LONG), ("lifo", SHORT), ("spt", SHORT), ("lpt", LONG), ("mwkr", SHORT), ("lwkr", LONG),
        ("mopnr", SHORT), ("lopnr", LONG), ("fdd", SHORT), ("fdd/mwkr", SHORT), ("spt/twkr", SHORT), ("edd", LONG),
        ("wspt", SHORT), ("mdd", LONG), ("cr", LONG), ("slack", LONG), ("slack/op", SHORT), ("MTWR", SHORT),
    ],
)  # fmt: skip
def test_who_is_first(name: str, first: Ready) -> None:
    one = Dispatch(rule=name)
    assert min((SHORT, LONG), key=lambda ready: one.key(ready, 10.0)) is first


def test_atc_weighs_weight_and_urgency() -> None:
    one = Dispatch(rule="atc")
    heavy = Ready(task="h", duration_s=4, work_left_s=4, weight=8, due_s=100)
    urgent = Ready(task="u", duration_s=4, work_left_s=4, weight=1, due_s=12)
    one.look([heavy, urgent], 0.0)
    assert one.key(urgent, 0.0) < one.key(heavy, 0.0)
    assert one.key(heavy, 95.0) < one.key(urgent, 95.0), "when both are late, the heavier is first"


@pytest.mark.parametrize("name", [*NAMES, *ALIASES])
def test_keys_are_numbers_for_anything(name: str) -> None:
    one = rule(name)
    for ready in (SHORT, LONG, Ready(task="z", duration_s=0.0, weight=0.0, due_s=math.inf)):
        if hasattr(one, "look"):
            one.look([ready], 3.0)
        key = one.key(ready, 3.0)
        assert not any(math.isnan(part) for part in (key if isinstance(key, tuple) else (key,)))


@pytest.mark.parametrize("name", NAMES)
def test_keys_that_stay_stay(name: str) -> None:
    one = rule(name)
    if not one.dynamic and name != "random":
        assert one.key(SHORT, 5.0) == one.key(SHORT, 500.0)


def test_dice_come_from_the_run() -> None:
    drawn = []
    for _ in range(2):
        one = Dispatch(rule="random")
        one.reset(np.random.default_rng(7))
        drawn.append([one.key(SHORT, 0.0) for _ in range(3)])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 3


@pytest.mark.parametrize("name", NAMES)
def test_rules_can_be_sent_elsewhere(name: str) -> None:
    copy = pickle.loads(pickle.dumps(Dispatch(rule=name)))
    assert copy.rule == name
    assert copy.dynamic == Dispatch(rule=name).dynamic


def test_unknown_rules_list_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'mwrk' is not known. Nearest: .*mwkr"):
        Dispatch(rule="mwrk")
