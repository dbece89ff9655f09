from __future__ import annotations

import numpy as np
import pytest

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.policies.serving.castillo import Castillo
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request
from headway.policies.serving.reserve import Reserve
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.price import LinearPrice
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld


def instance(num_blocks: int, **prompts: int) -> InstanceState:
    found = InstanceState("gpu", BlockPool(num_blocks), num_layers=2)
    for name, prompt in prompts.items():
        request = Request(id=name, arrival_s=0.0, prompt_tokens=prompt, max_tokens=160)
        found.waiting[name] = RequestState(request)
    return found


def queue(seat: Reserve, place: InstanceState) -> list[str]:
    return [state.id for state in seat.queue(place, 0.0)]


def test_all_that_was_asked_for_is_kept_free() -> None:
    assert queue(Reserve(by="max"), instance(40, a=160, b=160, c=16)) == ["a", "b"]  # 20 blocks each
    assert queue(Reserve(by="max"), instance(51, a=160, b=160, c=16)) == ["a", "b", "c"]


def test_somebody_starts_where_nothing_runs() -> None:
    assert queue(Reserve(by="max"), instance(4, a=160, b=160)) == ["a"]


def test_less_is_kept_free_by_mean_than_by_quantile() -> None:
    predict = Castillo(num_least=1)
    for seat, started in ((Reserve(by="mean"), 4), (Reserve(by="quantile", quantile=0.95), 2)):
        Stack(batch=SarathiServe(), order=seat, predict=predict).reset(np.random.default_rng(0))
        for tokens in (16,) * 9 + (160,):
            predict.learn(Request(id="r", arrival_s=0.0, prompt_tokens=160, max_tokens=160), tokens)
        assert len(queue(seat, instance(40, a=160, b=160, c=16, d=160))) == started


def test_the_shortest_may_start_first() -> None:
    predict, seat = Castillo(kind="oracle"), Reserve(sort=True)
    Stack(batch=SarathiServe(), order=seat, predict=predict).reset(np.random.default_rng(0))
    predict.foretell({"a": 100, "b": 10, "c": 50}.__getitem__)
    assert queue(seat, instance(100, a=16, b=16, c=16)) == ["b", "c", "a"]


@pytest.mark.parametrize(("by", "preempted"), [("max", False), ("mean", True)])
def test_who_reserves_all_is_never_preempted(by: str, preempted: bool) -> None:
    requests = [
        TrueRequest(
            request=Request(id=str(index), arrival_s=index * 0.01, prompt_tokens=160, max_tokens=320),
            output_tokens=320 if index % 4 == 0 else 20,
        )
        for index in range(60)
    ]
    world = ServingWorld(requests, [InstanceState("gpu", BlockPool(100), num_layers=2)], LinearPrice())
    seat = Reserve(by="max") if by == "max" else Reserve(by="mean")
    num = [0]

    class Counting:
        def on_event(self, event: object) -> None:
            num[0] += getattr(event, "num_preempted", 0)

    from headway.core.session import Session

    stack = Stack(batch=SarathiServe(), order=seat, predict=Castillo(num_least=1))
    simulate(world, stack, session=Session(stack, world.view, instruments=[Counting()]))
    assert (num[0] > 0) == preempted
    assert world.num_ended == 60


def test_parameters_out_of_range_are_errors() -> None:
    with pytest.raises(ConfigError, match="quantile must be in"):
        Reserve(quantile=1.0)
