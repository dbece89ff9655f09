from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.policies.serving.castillo import Castillo
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.shortest_first import ShortestFirst
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState


def instance(*requests: tuple[str, float, int, int]) -> InstanceState:
    """Return one at which these wait: name, arrival, prompt and most tokens."""
    found = InstanceState("gpu", BlockPool(64), num_layers=2)
    for name, at_s, prompt, most in requests:
        found.waiting[name] = RequestState(Request(id=name, arrival_s=at_s, prompt_tokens=prompt, max_tokens=most))
    return found


def test_who_needs_least_comes_first_prompts_included() -> None:
    place = instance(("a", 0, 100, 50), ("b", 0, 2000, 20), ("c", 0, 100, 20))
    assert [s.id for s in ShortestFirst().queue(place, 0.0)] == ["c", "a", "b"]  # 30, 60 and 220 tokens
    assert [s.id for s in ShortestFirst(prompt_weight=0).queue(place, 0.0)] == ["b", "c", "a"]


def test_who_waits_long_enough_comes_first() -> None:
    place = instance(("old", 0, 100, 300), ("new", 59, 100, 20))
    assert [s.id for s in ShortestFirst(ageing_tokens_per_s=5).queue(place, 60.0)] == ["old", "new"]
    assert [s.id for s in ShortestFirst(ageing_tokens_per_s=1).queue(place, 60.0)] == ["new", "old"]


def test_who_was_preempted_stays_in_front() -> None:
    place = instance(("back", 0, 100, 900), ("new", 0, 100, 20))
    place.waiting["back"].num_preempted = 1
    assert [s.id for s in ShortestFirst().queue(place, 0.0)] == ["back", "new"]


def test_it_asks_the_predictor_of_its_stack() -> None:
    order, predict = ShortestFirst(), Castillo(num_least=1)
    Stack(batch=SarathiServe(), order=order, predict=predict).reset(np.random.default_rng(0))
    place = instance(("a", 0, 100, 500), ("b", 0, 99, 500))
    place.waiting["c"] = RequestState(Request(id="c", arrival_s=0, prompt_tokens=100, max_tokens=500, tenant="brief"))
    predict.learn(place.waiting["a"].request, 300)
    predict.learn(place.waiting["c"].request, 10)
    assert [s.id for s in order.queue(place, 0.0)] == ["c", "b", "a"]


def test_parameters_out_of_range_are_errors() -> None:
    with pytest.raises(ConfigError, match="ageing_tokens_per_s must be >= 0"):
        ShortestFirst(ageing_tokens_per_s=-1)
