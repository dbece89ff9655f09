"""Memory that is kept beyond the end of a request."""

from __future__ import annotations

from headway.policies.serving.nouns import Pin, Unpin
from headway.policies.serving.sarathi import SarathiServe
from policies.serving.making import OneInstance


def finished(num_blocks: int = 8) -> OneInstance:
    """Return an instance on which a request of two full blocks has just finished."""
    one = OneInstance(SarathiServe(), num_blocks=num_blocks)
    one.arrive("a", prompt=40, most=1, hashes=(1, 2))
    one.turn()
    return one


def test_a_pin_keeps_the_full_blocks_of_who_has_just_finished() -> None:
    one = finished()
    assert one.instance.kv.num_free == 8
    assert one.board.apply(Pin(id="a", owner="session")) is None
    assert one.instance.kv.num_free == 6
    assert one.instance.kv.match([1, 2]) == list(one.instance.kv.pins["session"])


def test_without_a_pin_others_take_the_memory_and_with_one_they_wait() -> None:
    for keep in (True, False):
        one = finished()
        if keep:
            assert one.board.apply(Pin(id="a", owner="session")) is None
        one.arrive("b", prompt=8 * 16 - 4, most=2)
        assert one.turn() == ([] if keep else [("b", 124)])


def test_an_unpin_gives_the_memory_back_and_is_refused_twice() -> None:
    one = finished()
    one.board.apply(Pin(id="a", owner="session"))
    assert one.board.apply(Unpin(owner="session", instance="gpu")) is None
    assert one.instance.kv.num_free == 8
    assert one.board.apply(Unpin(owner="session", instance="gpu")) == "nothing is kept for it at 'gpu'"
    assert one.board.apply(Unpin(owner="session", instance="moon")) == "nothing is kept for it at 'moon'"


def test_the_next_turn_of_a_session_finds_its_memory_and_a_second_pin_replaces_the_first() -> None:
    one = finished()
    one.board.apply(Pin(id="a", owner="session"))
    one.arrive("b", prompt=60, most=1, hashes=(1, 2, 3))
    assert one.turn() == [("b", 28)]  # 32 of its tokens were kept
    assert one.board.apply(Pin(id="b", owner="session")) is None
    assert len(one.instance.kv.pins["session"]) == 3
    assert one.instance.kv.num_free == 5


def test_who_runs_can_be_pinned_and_who_is_unknown_or_left_nothing_cannot() -> None:
    one = finished()
    one.arrive("b", prompt=20, most=50, hashes=(7,))
    one.turn()
    assert one.board.apply(Pin(id="b", owner="b")) is None
    assert one.board.apply(Pin(id="nobody", owner="x")) == "it has no memory"
    one.arrive("c", prompt=5, most=1)
    one.turn()
    assert one.board.apply(Pin(id="c", owner="x")) == "it has no memory"


def test_a_draft_counts_what_the_end_of_a_pin_frees() -> None:
    one = finished()
    one.board.apply(Pin(id="a", owner="session"))
    draft = one.board.draft().on("gpu")
    draft.unpin("session")
    assert draft.free_blocks == 8
    assert draft.actions == [Unpin(owner="session", instance="gpu")]


def test_a_drafted_end_of_a_pin_does_not_free_what_a_drafted_start_shares() -> None:
    one = finished()
    one.board.apply(Pin(id="a", owner="session"))
    one.arrive("b", prompt=60, most=1, hashes=(1, 2, 3))
    draft = one.board.draft().on("gpu")
    assert draft.start(one.state("b"), 60) == 28
    draft.unpin("session")
    assert draft.free_blocks == 4
    for action in draft.actions:
        assert one.board.apply(action) is None
    assert one.instance.kv.num_free == 4


def test_a_failure_ends_all_pins() -> None:
    one = finished()
    one.board.apply(Pin(id="a", owner="session"))
    one.board.fail("gpu")
    assert not one.instance.kv.pins
