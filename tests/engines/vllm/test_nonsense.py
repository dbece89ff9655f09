"""A policy may do whatever it likes: vLLM lives, and each request is served or turned away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.vllm.books import watch
from engines.vllm.mad import Answer, Answering, Dice, reject_all
from engines.vllm.rig import HOSTED, Rig
from engines.vllm.test_fuzz import HAPPENINGS, SETUPS, Setup, check_ends, play
from engines.vllm.twins import PRICE
from headway.core.actions import Action, Move, Preempt, Reject, Set, Start, Wake
from headway.core.events import Event
from headway.engines.vllm.asks import Rejection, read_rejection
from headway.engines.vllm.host import INSTANCE
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Piece, Pin, RequestArrived, Step, StepDone, Unpin
from headway.policies.serving.vllm import Vllm


def rig_of(policy: Any, monkeypatch: pytest.MonkeyPatch | None = None, **setup: Any) -> Rig:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headway.engines.vllm.scheduler.build_policy", lambda settings: policy)
        return Rig(HOSTED, price=PRICE, headway={}, **setup)


def serve(policy: Any, *, overlapped: bool = False, **setup: Any) -> Rig:
    """Let a policy have ten requests, and look that all of them end."""
    rig = rig_of(policy, overlapped=overlapped, num_blocks=40, **setup)
    for number in range(10):
        rig.add(f"r{number}", 20 + 5 * number, 12, 7 if number % 2 else None)
        rig.step()
    rig.run()
    check_ends(rig)
    return rig


def step_of(tokens: Any) -> Answer:
    def answer(event: Event, view: ServingBoard) -> Iterator[Action]:
        pieces = tuple([Piece(name, tokens) for name in view.requests])
        yield Step(instance=INSTANCE, pieces=pieces)

    return answer


def broken(event: Event, view: ServingBoard) -> Iterable[Any]:
    raise RuntimeError("out of ideas")


def broken_when_a_step_ends(event: Event, view: ServingBoard) -> Iterable[Any]:
    if isinstance(event, StepDone):
        raise RuntimeError("out of ideas")
    return ()


def breaks_while_it_is_asked(event: Event, view: ServingBoard) -> Iterator[Any]:
    yield from [Move(name, INSTANCE) for name in view.unrouted]
    yield 1 / 0


def tampers(event: Event, view: ServingBoard) -> Iterable[Any]:
    view.requests["r0"] = None  # type: ignore[index]
    return ()


def multiplies(event: Event, view: ServingBoard) -> Iterator[Action]:
    for number in (1, 2, 3):
        yield Wake(view.now_s, f"{getattr(event, 'tag', '')[-60:]}{number}")


FALLS_BACK: dict[str, Answer] = {
    "wakes itself ever more often": multiplies,
    "raises": broken,
    "raises when a step ends": broken_when_a_step_ends,
    "raises in between": breaks_while_it_is_asked,
    "changes what it sees": tampers,
    "answers a number": lambda event, view: 7,  # type: ignore[dict-item,return-value]
    "answers nothing at all": lambda event, view: None,  # type: ignore[dict-item,return-value]
    "answers words": lambda event, view: ["start", "r0"],
    "never answers": lambda event, view: (),
    "waits for ever": lambda event, view: [Wake(math.inf)],
    "waits for no time": lambda event, view: [Wake(math.nan)],
    "wakes at once, again and again": lambda event, view: [Wake(view.now_s)],
    "wakes every second": lambda event, view: [Wake(view.now_s + 1.0)],
    "names types that do not fit": lambda event, view: [Start("r0", 5), Step(instance=INSTANCE, pieces=None)],  # type: ignore[arg-type]
}
"""Policies that serve nobody; what falls back is seen by who decides at the end."""


@pytest.mark.parametrize("overlapped", [False, True])
@pytest.mark.parametrize("name", FALLS_BACK)
def test_who_serves_nobody_is_replaced(name: str, overlapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    serves = name == "raises when a step ends"
    rig = serve(Answering(FALLS_BACK[name], serves=serves), overlapped=overlapped)
    assert {told.finish for told in rig.told.values()} == {"stop", "length"}
    assert "decides from now on" in caplog.text or "vLLM's own order serves from now on" in caplog.text


NOISE: dict[str, Answer] = {
    "nothing known": lambda event, view: [
        Start("nobody", {INSTANCE: {}}), Preempt("nobody"), Reject("nobody", "?"), Move("nobody", INSTANCE),
        Pin(id="nobody", owner="o"), Unpin(owner="o", instance=INSTANCE), Set("speed", 2.0, of=INSTANCE),
    ],
    "nowhere known": lambda event, view: [
        *[Start(name, {"elsewhere": {}}) for name in view.requests],
        *[Move(name, "elsewhere") for name in view.requests],
        Step(instance="elsewhere", pieces=(Piece("r0", 1),)),
    ],
    "too many tokens": step_of(10**9),
    "no tokens": step_of(0),
    "fewer than none": step_of(-5),
    "the same twice": lambda event, view: [Step(instance=INSTANCE, pieces=(Piece("r0", 1), Piece("r0", 1)))],
    "steps while one is under way": lambda event, view: [
        Step(instance=INSTANCE, pieces=tuple(view.instances[INSTANCE].decodes.pieces)) for _ in range(3)
    ],
    "what only others can": lambda event, view: [
        Step(instance=INSTANCE, pieces=(Piece("r0", 1, (0, 1)),)),
        Step(instance=INSTANCE, pieces=(Piece("r0", 1),), share=0.5),
        Step(instance=INSTANCE, pieces=(Piece("r0", 1),), speculate={"r0": 3}),
        *[Preempt(name, "swap") for name in view.requests],
        Set("num_lanes", 2.0, of=INSTANCE),
    ],
    "a memory of no size": lambda event, view: [
        Start(name, {INSTANCE: {"kv_tokens": size}})
        for name in view.instances[INSTANCE].waiting
        for size in (0.0, -1.0, math.nan, math.inf, 1e12)
    ],
}  # fmt: skip
"""What a policy may say beside what makes sense: all of it is refused, and the policy goes on."""


@pytest.mark.parametrize("overlapped", [False, True])
@pytest.mark.parametrize("name", NOISE)
def test_nonsense_is_refused(name: str, overlapped: bool, caplog: pytest.LogCaptureFixture) -> None:
    rig = serve(Answering(NOISE[name], serves=True), overlapped=overlapped)
    assert {told.finish for told in rig.told.values()} == {"stop", "length"}
    assert "from now on" not in caplog.text
    host: Any = rig.scheduler
    assert host.host.session.report().num_refused


@pytest.mark.parametrize("overlapped", [False, True])
def test_who_rejects_everybody_is_obeyed(overlapped: bool) -> None:
    rig = serve(Answering(reject_all), overlapped=overlapped)
    for told in rig.told.values():
        assert told.finish == "abort"
        assert read_rejection(told.stop_reason) == Rejection("nobody is served here", 3.0)


@pytest.mark.parametrize("overlapped", [False, True])
def test_who_preempts_all_the_time_is_obeyed(overlapped: bool) -> None:
    def answer(event: Event, view: ServingBoard) -> list[Action]:
        return [Preempt(name) for name in view.instances[INSTANCE].running] if isinstance(event, StepDone) else []

    rig = serve(Answering(answer, serves=True), overlapped=overlapped)
    assert {told.finish for told in rig.told.values()} == {"stop", "length"}
    assert rig.requests["r1"].num_preemptions > 3


def test_what_a_broken_policy_has_pinned_is_free_again() -> None:
    def answer(event: Event, view: ServingBoard) -> Iterator[Action]:
        yield from [Pin(id=name, owner=name) for name in view.requests]
        if isinstance(event, RequestArrived) and event.work.id == "long":
            raise RuntimeError("out of ideas")

    rig = rig_of(Answering(answer, serves=True), num_blocks=40, caching=True)
    for number in range(6):
        rig.add(f"r{number}", 70, 12)
        rig.run()
    assert rig.num_free < 40
    rig.add("long", 600, 20)
    rig.run()
    check_ends(rig)
    assert rig.told["long"].finish == "length"


@pytest.mark.parametrize("overlapped", [False, True])
def test_when_hosting_itself_fails_vllm_serves_in_its_own_order(
    overlapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for method in ("plan", "settle", "ran", "end", "arrive", "lose"):
        rig = rig_of(Answering(lambda event, view: (), serves=True), overlapped=overlapped, num_blocks=40)
        for number in range(10):
            rig.add(f"r{number}", 20 + 5 * number, 12, 7 if number % 2 else None)
        for _ in range(4):
            rig.step()
        hosted: Any = rig.scheduler
        setattr(hosted.host, method, lambda *arguments: 1 / 0)
        rig.add("late", 30, 5)
        rig.run()
        check_ends(rig)
        assert {told.finish for told in rig.told.values()} == {"stop", "length"}
        assert hosted.host is None or method == "lose"
    assert "vLLM's own order serves from now on" in caplog.text


@settings(max_examples=40, deadline=None)
@given(
    setup=SETUPS,
    happenings=HAPPENINGS,
    seed=st.integers(0, 1 << 20),
    wild_frac=st.sampled_from([0.0, 0.3]),
    pins=st.booleans(),
)
def test_books_agree_whatever_is_decided(
    setup: Setup, happenings: Any, seed: int, wild_frac: float, pins: bool
) -> None:
    rig = rig_of(Dice(seed, wild_frac, pins and setup.caching), **setup._asdict())
    watch(rig, "dice")
    play(rig, happenings)
    assert rig.scheduler.reset_prefix_cache()  # which lets go of what is pinned
    check_ends(rig)


def test_the_fallback_is_first_come_first_served() -> None:
    rig = serve(Answering(broken))
    hosted: Any = rig.scheduler
    assert isinstance(hosted.host.session.policy.batch, Vllm)
