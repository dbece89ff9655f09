"""The core's board: amounts are conserved, refusals change nothing, drafts keep their word."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headway.core.actions import Action, Move, Preempt, Reject, Start
from headway.core.nouns import Resource, Work
from headway.core.view import Board


def machine(id: str, **capacity: float) -> Resource:
    return Resource(id=id, kind="machine", capacity=capacity)


def work(id: str, **needs: float) -> Work:
    return Work(id=id, kind="job", arrival_s=0.0, needs=needs)


def board() -> Board:
    made = Board([machine("m", slot=2.0, gpu=1.0), machine("n", slot=1.0)])
    for name in "ab":
        made.add(work(name, slot=1.0))
    assert made.apply(Start("a", {"m": {"slot": 1.0}})) is None
    return made


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (Start("a", {"m": {"slot": 1.0}}), "it is not waiting"),
        (Start("b", {"m": {"slot": 1.5}}), "m has 1 slot free, 1.5 asked for"),
        (Start("b", {"n": {"gpu": 1.0}}), "n has 0 gpu free, 1 asked for"),
        (Start("b", {"m": {"slot": 1.0}, "n": {"slot": 2.0}}), "n has 1 slot free, 2 asked for"),
        (Start("b", {"x": {}}), "there is no resource 'x'"),
        (Start("b", {"m": {"slot": -1.0}}), "amounts must be >= 0"),
        (Start("b", {"m": {"slot": math.nan}}), "amounts must be >= 0"),
        (Preempt("b"), "it is not running"),
        (Preempt("a", "pause"), "this board cannot pause"),
        (Reject("a", "no"), "it is not waiting"),
        (Move("a", "n"), "this board does not know Move"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason_and_changes_nothing(action: Action, why: str) -> None:
    made = board()
    before = made.fingerprint()
    said = made.apply(action)
    assert said is not None
    assert why in said
    assert made.fingerprint() == before


def test_a_gang_holds_amounts_of_several_resources() -> None:
    made = board()
    assert made.apply(Start("b", {"m": {"slot": 1.0, "gpu": 1.0}, "n": {"slot": 1.0}})) is None
    assert (dict(made.free("m")), dict(made.free("n"))) == ({"slot": 0.0, "gpu": 0.0}, {"slot": 0.0})
    made.finish("b")
    assert (dict(made.free("m")), dict(made.free("n"))) == ({"slot": 1.0, "gpu": 1.0}, {"slot": 1.0})


def test_preempted_work_waits_again_and_rejected_work_is_gone() -> None:
    made = board()
    assert made.apply(Preempt("a")) is None
    assert list(made.waiting) == ["b", "a"]
    assert made.apply(Reject("a", "no")) is None
    assert made.apply(Start("a", {"m": {}})) == "it is not waiting"


def test_rounding_is_forgiven() -> None:
    made = Board([machine("m", slot=1.0)])
    for n in range(3):
        made.add(work(f"w{n}", slot=0.1))
        assert made.apply(Start(f"w{n}", {"m": {"slot": 0.1}})) is None
    made.add(work("rest", slot=0.7))
    assert made.draft().start("rest", "m")
    assert made.apply(Start("rest", {"m": {"slot": 0.7}})) is None


def test_views_cannot_be_written() -> None:
    made = board()
    with pytest.raises(TypeError):
        made.waiting["c"] = work("c")  # type: ignore[index]


class Jobs(RuleBasedStateMachine):
    """Random work on three machines."""

    def __init__(self) -> None:
        super().__init__()
        self.board = Board([machine(f"m{n}", slot=float(n + 1)) for n in range(3)])
        self.count = 0

    @rule(needs=st.integers(0, 4))
    def arrive(self, needs: int) -> None:
        self.count += 1
        self.board.add(work(f"w{self.count}", slot=float(needs)))

    @rule(data=st.data())
    def draft_and_carry_out(self, data: st.DataObject) -> None:
        draft = self.board.draft()
        for name in list(self.board.waiting):
            draft.start(name, data.draw(st.sampled_from(["m0", "m1", "m2"])))
        for action in draft.actions:
            assert self.board.apply(action) is None
        for name in ("m0", "m1", "m2"):
            assert dict(draft.free(name)) == dict(self.board.free(name))

    @rule(n=st.integers(1, 20), kind=st.sampled_from([Preempt, lambda id: Reject(id, "no")]))
    def act(self, n: int, kind: type[Preempt]) -> None:
        before = self.board.fingerprint()
        if self.board.apply(kind(f"w{n}")) is not None:
            assert self.board.fingerprint() == before

    @rule()
    def finish(self) -> None:
        if self.board.running:
            self.board.finish(next(iter(self.board.running)))

    @invariant()
    def amounts_are_conserved(self) -> None:
        for resource in self.board.resources.values():
            held = sum(start.on.get(resource.id, {}).get("slot", 0.0) for start in self.board.running.values())
            assert self.board.free(resource.id)["slot"] + held == resource.capacity["slot"]
            assert self.board.free(resource.id)["slot"] >= 0

    @invariant()
    def nobody_is_in_two_places(self) -> None:
        assert not set(self.board.waiting) & set(self.board.running)


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
