"""Work may need nothing of a kind that a resource does not have."""

from __future__ import annotations

from headway.core.actions import Start
from headway.core.nouns import Resource, Work
from headway.core.view import Board


def test_a_need_of_nothing_is_always_met() -> None:
    board = Board([Resource(id="m", kind="machine", capacity={"slot": 1.0})])
    board.add(Work(id="a", kind="job", arrival_s=0.0, needs={"slot": 1.0, "gpu": 0.0}))
    assert board.draft().start("a", "m")
    assert board.apply(Start("a", {"m": {"slot": 1.0, "gpu": 0.0}})) is None
    assert board.free("m")["slot"] == 0.0
    board.finish("a")
    assert board.free("m")["slot"] == 1.0
