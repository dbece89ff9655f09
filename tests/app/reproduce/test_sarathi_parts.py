from __future__ import annotations

import pytest

from headway.app.reproduce.claims.sarathi_parts import ChunksOnly
from headway.core.session import policy_stream
from policies.serving.making import OneInstance


def test_chunks_and_decodes_take_turns() -> None:
    world = OneInstance(ChunksOnly(token_budget=60))
    world.arrive("a", "b", prompt=100, most=4)
    assert world.turn() == [("a", 60)]
    assert world.turn() == [("a", 40), ("b", 20)]  # nothing to decode yet
    assert world.turn() == [("a", 1)]
    assert world.turn() == [("b", 60)]
    assert world.turn() == [("a", 1)]
    assert world.turn() == [("b", 20)]
    assert world.turn() == [("a", 1), ("b", 1)]
    assert world.turn() == [("b", 1)]
    assert world.turn() == [("b", 1)]
    assert world.turn() == []


def test_reset_gives_chunks_the_first_turn() -> None:
    seat = ChunksOnly(token_budget=60)
    first = OneInstance(seat)
    first.arrive("a", prompt=50, most=2)
    assert first.turn() == [("a", 50)]
    seat.reset(policy_stream(0))
    first.arrive("b", prompt=50, most=2)
    assert first.turn() == [("b", 50)]


def test_never_more_chunks_than_the_budget() -> None:
    world = OneInstance(ChunksOnly(token_budget=60))
    world.arrive("a", "b", "c", prompt=50, most=2)
    while pieces := world.turn():
        assert sum(tokens for _, tokens in pieces) <= 60


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="token_budget must be >= 1"):
        ChunksOnly(token_budget=0)
