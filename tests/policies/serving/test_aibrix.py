"""AIBrix's gateway: who gets a request, by hand-computed cases, and that every strategy is a good policy."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import numpy as np
import pytest

from headway.core.actions import Move, Reject, Wake
from headway.core.drivers import simulate
from headway.core.errors import ConfigError, UnknownName
from headway.core.events import Changed, Failed
from headway.core.nouns import Resource
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.aibrix import STRATEGIES, AIBrix
from headway.policies.serving.aibrix_prefix import PrefixTable
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished
from headway.policies.serving.state import InstanceState, RequestState
from headway.policies.serving.wrap import as_policy
from headway.sim.serving.small import small_world


def board(names: str = "abc") -> ServingBoard:
    return ServingBoard([InstanceState(name, BlockPool(200), num_layers=2) for name in names], frozenset({"scale"}))


def request(
    id: str, hashes: Iterable[int] = (), tenant: str = "default", prompt: int = 100, ttft_s: float | None = None
) -> Request:
    return Request(
        id=id, arrival_s=0.0, prompt_tokens=prompt, max_tokens=10, hashes=tuple(hashes), tenant=tenant, ttft_s=ttft_s
    )


def router(**parameters: object) -> AIBrix:
    made = AIBrix(**parameters)  # type: ignore[arg-type]
    made.reset(np.random.default_rng(0))
    return made


def send(view: ServingBoard, to: str, num: int) -> None:
    for _ in range(num):
        name = f"{to}{len(view.requests)}"
        view.add(request(name))
        assert view.apply(Move(name, to)) is None


def ended(id: str, at_s: float = 1.0, output: int = 5, e2e_s: float = 1.0) -> RequestFinished:
    return RequestFinished(
        at_s=at_s, id=id, reason="stop", output_tokens=output, queue_s=0.0, ttft_s=0.1, tpot_s=0.1, e2e_s=e2e_s
    )


def pick(seat: AIBrix, view: ServingBoard, asked: Request) -> str:
    return seat.pick(RequestState(asked), view)


def test_a_prompt_goes_where_its_beginning_was_sent() -> None:
    view, seat = board(), router()
    first = pick(seat, view, request("x", (1, 2, 3)))
    assert pick(seat, view, request("y", (1, 2, 9))) == first
    assert pick(seat, view, request("z", (1, 2, 3, 4))) == first


def test_the_longest_match_wins_and_then_the_fewest_requests() -> None:
    view, seat = board("ab"), router()
    send(view, "b", 1)
    assert pick(seat, view, request("x", (1, 2))) == "a"
    send(view, "a", 2)
    assert pick(seat, view, request("y", (7, 8))) == "b"
    assert pick(seat, view, request("z", (1, 2, 3))) == "a"  # it is more loaded
    assert pick(seat, view, request("w", (7,))) == "b"


def test_a_prefix_does_not_count_when_loads_are_far_apart() -> None:
    view, seat = board("ab"), router(imbalance=8, deviations=100.0)
    send(view, "b", 1)
    assert pick(seat, view, request("x", (1, 2))) == "a"
    send(view, "a", 9)
    assert pick(seat, view, request("y", (1, 2))) == "a"  # eight more: still even
    send(view, "a", 1)
    assert pick(seat, view, request("z", (1, 2))) == "b"
    heedless = router(guarded=False)
    heedless.pick(RequestState(request("x", (1, 2))), board("a"))
    assert pick(heedless, view, request("y", (1, 2))) == "a"


def test_a_match_far_above_the_mean_does_not_count() -> None:
    view, seat = board("abcdef"), router(imbalance=100, deviations=2.0)
    for name in "bcdef":
        send(view, name, 1)
    assert pick(seat, view, request("x", (1, 2))) == "a"
    send(view, "a", 10)  # mean 2.5, deviation 3.35: 2 deviations above is 9.2
    assert pick(seat, view, request("y", (1, 2))) != "a"
    calm = router(imbalance=100, deviations=3.0)
    calm.pick(RequestState(request("x", (1, 2))), board("a"))
    assert pick(calm, view, request("z", (1, 2))) == "a"


def test_what_an_instance_had_is_forgotten_when_it_goes() -> None:
    view, seat = board("ab"), router()
    first = pick(seat, view, request("x", (1, 2)))
    other = "b" if first == "a" else "a"
    send(view, first, 1)
    gone = Changed(at_s=1.0, resource=Resource(id=first, kind="instance", capacity={}), up=False)
    assert list(seat.steer(gone, view)) == []
    assert pick(seat, view, request("y", (1, 2))) == other


def test_the_table_is_bounded_and_forgets_the_ends_of_prompts_first() -> None:
    table = PrefixTable(max_blocks=4)
    table.note((1, 2, 3), "a")
    table.note((5, 6), "b")
    assert table.match((1, 2, 3), "ab") == {"a": 2}
    assert table.match((5, 6), "ab") == {"b": 2}
    table.note((1, 9), "b")
    assert table.match((1, 2), "ab") == {"a": 1, "b": 1}  # 2 was used least recently
    assert table.match((1, 2), "b") == {"b": 1}


def test_preble_goes_to_the_match_only_when_it_is_more_than_half() -> None:
    view, seat = board("ab"), router(strategy="prefix-cache-preble")
    first = pick(seat, view, request("x", range(6)))
    assert pick(seat, view, request("y", (*range(6), 7))) == first
    # Sharing a third is not enough, and the other has been given less to compute.
    assert pick(seat, view, request("z", (0, 1, 20, 21, 22, 23))) != first


def test_by_load() -> None:
    view = board("ab")
    send(view, "a", 1)
    assert pick(router(strategy="least-request"), view, request("x")) == "b"
    assert {pick(router(strategy="power-of-two"), view, request("x"))} == {"b"}
    view.instances["b"].kv.allocate(50)
    assert pick(router(strategy="least-kv-cache"), view, request("x")) == "a"
    chance = router(strategy="random")
    assert {pick(chance, view, request(str(n))) for n in range(20)} == {"a", "b"}


@pytest.mark.parametrize("strategy", ["throughput", "least-latency"])
def test_by_what_was_finished_of_late(strategy: str) -> None:
    view, seat = board("ab"), router(strategy=strategy, window_s=60.0)
    first = pick(seat, view, request("x", prompt=500))
    second = "b" if first == "a" else "a"
    list(seat.steer(ended("x", e2e_s=9.0), view))
    assert pick(seat, view, request("y", prompt=50)) == second
    list(seat.steer(ended("y", e2e_s=1.0), view))
    view.now_s = 50.0
    assert pick(seat, view, request("z")) == second
    view.now_s = 61.5  # both ends are too long ago
    assert {pick(seat, view, request(str(n))) for n in range(20)} == {"a", "b"}


def test_prompts_count_double_for_throughput() -> None:
    view, seat = board("ab"), router(strategy="throughput")
    first = pick(seat, view, request("x", prompt=100))
    second = "b" if first == "a" else "a"
    list(seat.steer(ended("x", output=10), view))
    assert pick(seat, view, request("y", prompt=60)) == second
    list(seat.steer(ended("y", output=95), view))  # 2 * 60 + 95 > 2 * 100 + 10
    assert pick(seat, view, request("z")) == first


def test_heavy_users_are_kept_apart() -> None:
    view, seat = board("ab"), router(strategy="vtc-basic")
    assert pick(seat, view, request("x", tenant="heavy", prompt=5000)) == "a"
    list(seat.steer(ended("x"), view))
    assert pick(seat, view, request("y", tenant="heavy")) == "b"
    assert pick(seat, view, request("z", tenant="light")) == "a"
    send(view, "a", 2)
    send(view, "b", 1)
    assert pick(seat, view, request("w", tenant="light")) == "a"  # 0 + 1 against 1 + 1 / 2


def test_promises_pack_or_spread() -> None:
    view = board("ab")
    send(view, "a", 1)
    asked = request("x", ttft_s=10.0)
    state = view.add(asked)
    assert router(strategy="slo-pack-load").pick(state, view) == "a"
    assert router(strategy="slo-least-load").pick(state, view) == "b"
    hopeless = view.add(request("y", ttft_s=1e-6))
    assert router(strategy="slo-pack-load").pick(hopeless, view) == "b"


def test_the_gateway_holds_back_and_turns_away() -> None:
    view, seat = board("ab"), router(strategy="slo-least-load-pulling")
    for name in "ab":
        send(view, name, 1)
    late, hurried = view.add(request("late", ttft_s=5e-2, prompt=8000)), view.add(request("hurried", ttft_s=2e-3))
    assert [seat.pick(state, view) for state in (late, hurried)] == ["", ""]
    arrived = RequestArrived(at_s=0.0, work=hurried.request)
    (wake,) = seat.steer(arrived, view)
    assert isinstance(wake, Wake)
    assert list(seat.steer(ended("nobody"), view)) == []  # it looks again when it said
    view.now_s = 0.01
    assert list(seat.steer(ended("nobody", 0.01), view)) == [
        Reject("hurried", "it has waited longer than its first token was to take")
    ]
    view.apply(Reject("hurried", ""))
    for state in list(view.instances["b"].waiting.values()):
        view.apply(Reject(state.id, ""))
    move, *_ = seat.steer(ended("nobody", 0.01), view)
    assert move == Move("late", "b")  # nothing is gained by waiting any longer


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_serves_all(strategy: str) -> None:
    def run() -> MemoryTrace:
        world, accounts = small_world(3)
        policy = as_policy("route+place+scale", pickle.loads(pickle.dumps(router(strategy=strategy))))
        trace = MemoryTrace(100_000)
        report = simulate(world, policy, session=Session(policy, world.view, seed=3, accounts=accounts, trace=trace))
        assert not report.num_refused
        return trace

    first, second = run(), run()
    over = [record for record in first.records if isinstance(record, RequestFinished | Failed)]
    assert len(over) == 40
    assert first.actions == second.actions
    used = {action.to for action in first.actions if isinstance(action, Move)}
    assert used == ({"large"} if strategy == "slo-pack-load" else {"large", "small"})  # one holds all of them


@pytest.mark.parametrize(
    "parameters", [{"target": 0.0}, {"every_s": 0.0}, {"max_up": 1.0}, {"imbalance": -1}, {"table_blocks": 0}]
)
def test_nonsense_is_refused(parameters: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(parameters))):
        AIBrix(**parameters)  # type: ignore[arg-type]


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Nearest: prefix-cache"):
        AIBrix(strategy="prefix-cash")
    with pytest.raises(UnknownName, match="apa"):
        AIBrix(scaler="pa")  # type: ignore[arg-type]
