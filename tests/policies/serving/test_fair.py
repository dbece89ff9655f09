from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Move, Preempt, Start
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.report import Report
from headway.core.session import Session
from headway.core.trace import MemoryTrace
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.fair import Fair
from headway.policies.serving.fair_counters import FEW
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld


class Place:
    """A seat and a board with one instance, moved by hand."""

    def __init__(self, seat: Fair, num_blocks: int = 200) -> None:
        self.seat = seat
        self.instance = InstanceState("gpu", BlockPool(num_blocks), num_layers=2)
        self.board = ServingBoard([self.instance])
        seat.reset(np.random.default_rng(0))

    def arrive(self, id: str, prompt: int = 10, priority: int = 0, hashes: tuple[int, ...] = ()) -> None:
        """Let a request of the tenant come that its first letter names."""
        request = Request(
            id=id,
            arrival_s=self.board.now_s,
            prompt_tokens=prompt,
            max_tokens=50,
            tenant=id[0],
            priority=priority,
            hashes=hashes,
        )
        self.board.add(request)
        assert not list(self.seat.steer(RequestArrived(at_s=self.board.now_s, work=request), self.board))
        assert self.board.apply(Move(id, "gpu")) is None

    def start(self, id: str, output_tokens: int = 0) -> RequestState:
        """Start a request and give it some tokens."""
        state = self.board.requests[id]
        state.first_step_s = self.board.now_s  # as its first step would
        assert self.board.apply(Start(id, {"gpu": {"kv_tokens": state.known_tokens + 50}})) is None
        for _ in range(output_tokens):
            state.give(self.board.now_s)
        return state

    def end(self, id: str) -> None:
        """End a request."""
        told = self.board.finish(id, "stop", self.board.now_s)
        assert not list(self.seat.steer(told, self.board))

    @property
    def queue(self) -> list[str]:
        """Who is to start, in order."""
        return [state.id for state in self.seat.queue(self.instance, self.board.now_s)]


# By hand -------------------------------------------------------------------------------------------------------------


def test_each_start_counts_for_the_next() -> None:
    place = Place(Fair())
    for name in ("a1", "a2", "a3", "b1", "b2"):
        place.arrive(name, prompt=30 if name.startswith("a") else 10)
    assert place.queue == ["a1", "b1", "b2", "a2", "a3"]
    assert place.queue == ["a1", "b1", "b2", "a2", "a3"]  # asking changes nothing


def test_tokens_of_outputs_count_twice_as_they_come() -> None:
    place = Place(Fair())
    for name in ("a1", "b1", "a2", "b2"):
        place.arrive(name)
    assert place.queue == ["a1", "b1", "a2", "b2"]
    place.start("a1", output_tokens=3)
    running = place.start("b1", output_tokens=2)
    assert place.queue == ["b2", "a2"]
    assert (place.seat.counters.of("a"), place.seat.counters.of("b")) == (16, 14)
    running.give(0.0)
    running.give(0.0)
    assert place.queue == ["a2", "b2"]
    assert (place.seat.counters.of("a"), place.seat.counters.of("b")) == (16, 18)


def test_who_has_ended_has_been_charged_to_the_end() -> None:
    place = Place(Fair())
    for name in ("a1", "b1", "a2", "b2"):
        place.arrive(name)
    assert place.queue
    place.start("a1", output_tokens=4)
    place.end("a1")
    assert place.queue == ["b1", "b2", "a2"]
    assert place.seat.counters.of("a") == 18


def test_a_tenant_of_weight_two_is_charged_half() -> None:
    place = Place(Fair(weights={"a": 2.0}))
    for name in ("a1", "b1", "a2", "b2", "a3", "b3", "a4", "a5"):
        place.arrive(name)
    assert place.queue == ["a1", "b1", "a2", "a3", "b2", "a4", "a5", "b3"]


def test_who_was_idle_has_no_credit() -> None:
    place = Place(Fair())
    for name in ("a1", "a2", "a3"):
        place.arrive(name, prompt=100)
    assert place.queue == ["a1", "a2", "a3"]
    place.start("a1", output_tokens=5)
    for name in ("b1", "b2", "b3"):
        place.arrive(name, prompt=100)
    assert place.queue == ["a2", "b1", "a3", "b2", "b3"]
    assert place.seat.counters.of("b") == place.seat.counters.of("a") == 110


def test_nobody_pays_for_what_nobody_else_wanted() -> None:
    place = Place(Fair())
    place.arrive("a1", prompt=100)
    assert place.queue == ["a1"]
    place.start("a1", output_tokens=40)
    place.end("a1")  # alone, and nobody has waited since
    for name in ("b1", "a2", "b2"):
        place.arrive(name)
    assert place.queue == ["b1", "a2", "b2"]
    assert place.seat.counters.of("b") == place.seat.counters.of("a") == 180


def test_what_is_found_in_the_cache_is_free() -> None:
    place, chain = Place(Fair()), tuple(range(1, 7))
    place.arrive("a1", prompt=100, hashes=chain)
    assert place.queue == ["a1"]
    state = place.start("a1")
    state.compute(100)
    for block, hash_ in zip(state.blocks, chain, strict=False):
        place.instance.kv.remember(block, hash_)
    for name in ("a2", "a3", "a4"):
        place.arrive(name, prompt=100, hashes=chain)  # of which 96 tokens are there
    for name in ("b1", "b2"):
        place.arrive(name, prompt=100)
    assert place.queue == ["a2", "b1", "a3", "a4", "b2"]
    place.start("a2")
    assert place.queue == ["b1", "a3", "a4", "b2"]
    assert place.seat.counters.of("a") - place.seat.counters.of("b") == 4


def test_priorities_count_within_a_tenant() -> None:
    place = Place(Fair())
    for name, priority in (("a1", 0), ("a2", 5), ("b1", 0), ("a3", 5)):
        place.arrive(name, priority=priority)
    assert place.queue == ["a2", "b1", "a3", "a1"]


def test_who_was_preempted_is_in_front_and_charged_once() -> None:
    place = Place(Fair())
    for name in ("a1", "a2", "b1", "b2"):
        place.arrive(name)
    assert place.queue
    place.start("a1", output_tokens=7)
    assert place.queue == ["b1", "b2", "a2"]
    assert place.board.apply(Preempt("a1")) is None
    assert place.queue == ["a1", "b1", "b2", "a2"]
    place.start("a1")
    assert place.queue == ["b1", "b2", "a2"]
    assert place.seat.counters.of("a") == 24


def test_who_ends_without_having_started_is_not_charged() -> None:
    place = Place(Fair())
    for name in ("a1", "b1", "a2"):
        place.arrive(name)
    assert place.queue
    place.end("a1")
    place.end("a2")
    assert place.queue == ["b1"]
    assert place.seat.counters.of("a") == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"prompt_weight": -1.0}, "prompt_weight must be >= 0"),
        ({"output_weight": float("nan")}, "output_weight must be >= 0"),
        ({"prompt_weight": 0.0, "output_weight": 0.0}, "got 0 for both"),
        ({"weights": {"a": 0.0}}, r"weights.a must be > 0"),
    ],
)
def test_parameters_out_of_range_are_errors(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Fair(**wrong)  # type: ignore[arg-type]


# In the world --------------------------------------------------------------------------------------------------------


class Service:
    """Measures, from the outside, what tenants are given, and who has somebody waiting."""

    def __init__(self, world: ServingWorld) -> None:
        self._world = world
        self._open: dict[str, RequestState] = {}
        self._ended: dict[str, float] = Counter()
        self.history: list[tuple[dict[str, float], set[str]]] = []
        self.ttft_s: dict[str, list[float]] = {}

    def on_event(self, event: Event) -> None:
        view = self._world.view
        if isinstance(event, RequestArrived):
            self._open[event.work.id] = view.requests[event.work.id]
        elif isinstance(event, RequestFinished):
            state = self._open.pop(event.id)
            self.ttft_s.setdefault(state.request.tenant, []).append(event.ttft_s)
            self._ended[state.request.tenant] += service(state)
        given = Counter(self._ended)
        for state in self._open.values():
            given[state.request.tenant] += service(state)
        waiting = {s.request.tenant for i in view.instances.values() for s in i.waiting.values() if not s.turn}
        self.history.append((given, waiting))

    def while_waiting(self, *tenants: str) -> list[dict[str, float]]:
        """Return what had been given at each event while all of these had somebody waiting."""
        return [given for given, waiting in self.history if waiting >= set(tenants)]


def service(state: RequestState) -> float:
    prompt_tokens = state.request.prompt_tokens - state.cached_tokens
    return prompt_tokens + 2.0 * state.output_tokens if state.turn else 0.0


Sizes = Sequence[tuple[int, int]]


def requests(of: Mapping[str, tuple[float, float, Sizes]]) -> list[TrueRequest]:
    """Return the requests of each tenant: when the first comes, how many seconds lie between them, and their sizes."""
    numbers = count()
    return [
        TrueRequest(
            request=Request(
                id=f"{tenant}{next(numbers)}",
                arrival_s=first_s + place * gap_s,
                prompt_tokens=prompt,
                max_tokens=output,
                tenant=tenant,
            ),
            output_tokens=output,
        )
        for tenant, (first_s, gap_s, sizes) in of.items()
        for place, (prompt, output) in enumerate(sizes)
    ]


def play(
    seat: Fair | None, load: list[TrueRequest], *, num_blocks: int = 400, max_seqs: int = 8, num_instances: int = 1
) -> tuple[Service, Report, MemoryTrace]:
    instances = [InstanceState(f"gpu-{n}", BlockPool(num_blocks), num_layers=2) for n in range(num_instances)]
    world = ServingWorld(load, instances)
    service, trace = Service(world), MemoryTrace(1_000_000)
    stack = Stack(batch=SarathiServe(token_budget=256, max_seqs=max_seqs), order=seat)
    report = simulate(world, stack, session=Session(stack, world.view, instruments=[service], trace=trace))
    assert world.num_ended == len(load)
    assert not report.num_refused
    assert seat is None or not seat.counters.num_open
    return service, report, trace


def drawn(seed: int, num: int, prompt: int, output: int) -> Sizes:
    rng = np.random.default_rng(seed)
    return [
        (int(rng.integers(prompt // 2, prompt * 2)), int(rng.integers(output // 2, output * 2))) for _ in range(num)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_flood_of_one_tenant_does_not_keep_another_waiting(seed: int) -> None:
    flood = (0.0, 0.01, drawn(seed, 300, 200, 40))
    few = (1.0, 2.0, drawn(seed + 100, 15, 100, 20))
    found = {seat: play(seat, requests({"flood": flood, "few": few}))[0] for seat in (None, Fair())}
    alone, fair = found.values()
    assert mean(fair.ttft_s["few"]) < mean(alone.ttft_s["few"]) / 10
    assert mean(fair.ttft_s["flood"]) < mean(alone.ttft_s["flood"]) * 1.2


def test_tenants_are_given_the_same_whatever_they_ask() -> None:
    load = requests(
        {
            "long": (0.0, 0.01, drawn(1, 60, 400, 20)),
            "chatty": (0.0, 0.01, drawn(2, 60, 50, 100)),
            "much": (0.0, 0.002, drawn(3, 300, 100, 20)),
            "usual": (0.0, 0.01, drawn(4, 80, 200, 40)),
        }
    )

    def jain(seat: Fair | None) -> float:
        service, _, _ = play(seat, load)
        given = service.while_waiting("long", "chatty", "much", "usual")[-1]
        return sum(given.values()) ** 2 / (4 * sum(x * x for x in given.values()))

    assert jain(None) < 0.9
    assert jain(Fair()) > 0.99


def test_weights_are_kept() -> None:
    load = requests({"a": (0.0, 0.0, drawn(1, 150, 150, 30)), "b": (0.0, 0.0, drawn(2, 150, 150, 30))})
    service, _, _ = play(Fair(weights={"a": 3.0}), load)
    given = service.while_waiting("a", "b")[-1]
    assert given["a"] / given["b"] == pytest.approx(3.0, rel=0.15)


def test_who_comes_later_does_not_catch_up() -> None:
    load = requests({"a": (0.0, 0.0, [(100, 20)] * 120), "b": (2.0, 0.0, [(100, 20)] * 60)})
    _, _, trace = play(Fair(), load)
    started = [record.id[0] for record in trace.records if isinstance(record, Start)]
    assert "b" not in started[:20]
    since = started[started.index("b") :]
    assert Counter(since[:40])["a"] == pytest.approx(20, abs=4)


size = st.tuples(st.integers(1, 300), st.integers(1, 60))


@settings(max_examples=40, deadline=None)
@given(
    a=st.lists(size, min_size=5, max_size=40),
    b=st.lists(size, min_size=5, max_size=40),
    later_s=st.sampled_from([0.0, 0.0, 0.7, 3.0]),
    weight=st.sampled_from([1.0, 1.0, 0.5, 4.0]),
    max_seqs=st.integers(1, 6),
    num_blocks=st.sampled_from([23, 40, 200]),
)
def test_nobody_gets_far_ahead_while_both_wait(
    a: Sizes, b: Sizes, later_s: float, weight: float, max_seqs: int, num_blocks: int
) -> None:
    load = requests({"a": (0.0, 0.0, a), "b": (later_s, 0.0, b)})
    service, _, _ = play(Fair(weights={"b": weight}), load, num_blocks=num_blocks, max_seqs=max_seqs)
    most = max(p for p, _ in [*a, *b]) + 2 * max_seqs * max(o for _, o in [*a, *b])
    bound = max(most, most / weight) * (2 if later_s else 1)  # who comes later may begin as far behind or ahead
    ahead = [given.get("a", 0.0) - given.get("b", 0.0) / weight for given in service.while_waiting("a", "b")]
    assert all(abs(x - y) <= bound for x in ahead for y in ahead[:1])


def test_without_it_one_gets_far_ahead() -> None:
    load = requests({"a": (0.0, 0.0, [(100, 10)] * 100), "b": (0.001, 0.0, [(100, 10)] * 100)})
    for seat, is_far in ((None, True), (Fair(), False)):
        service, _, _ = play(seat, load, max_seqs=2)
        ahead = [given["a"] - given.get("b", 0.0) for given in service.while_waiting("a", "b")]
        assert (max(ahead) > 10 * (100 + 2 * 2 * 10)) == is_far


def test_many_tenants_are_not_remembered_for_ever() -> None:
    load = requests({f"t{number}": (number * 0.05, 0.0, [(20, 4)]) for number in range(400)})
    seat = Fair()
    play(seat, load)
    assert len(seat.counters) <= 2 * FEW


def test_counters_are_those_of_the_whole_fleet() -> None:
    load = requests({"a": (0.0, 0.0, drawn(1, 150, 150, 30)), "b": (0.01, 0.0, drawn(2, 150, 150, 30))})
    service, _, _ = play(Fair(), load, num_instances=3)
    given = service.while_waiting("a", "b")[-1]
    assert given["a"] / given["b"] == pytest.approx(1.0, rel=0.1)
