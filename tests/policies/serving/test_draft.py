"""A draft never promises what the board refuses."""

from __future__ import annotations

from headway.core.actions import Action, Move, Preempt, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState
from policies.serving.making import request


class Drafting:
    """Requests on one instance with four tokens per block, and the draft of one decision."""

    def __init__(self, num_blocks: int) -> None:
        self.instance = InstanceState("gpu", BlockPool(num_blocks, 4), num_layers=2)
        self.board = ServingBoard([self.instance])
        self.draft = InstanceDraft(self.instance)

    def wait(self, id: str, prompt: int, *hashes: int) -> None:
        self.board.add(request(id, prompt, hashes=hashes))
        assert self.board.apply(Move(id, "gpu")) is None

    def run(self, id: str, prompt: int, *hashes: int) -> None:
        """Bring a request to its first token."""
        self.wait(id, prompt, *hashes)
        self.carry_out([Start(id, {"gpu": {"kv_tokens": prompt}})])
        left = self.board.requests[id].left_tokens
        step = Step(instance="gpu", pieces=(Piece(id, left),))
        self.carry_out([step])
        self.board.advance(step, 1.0)
        self.board.end(step)
        self.draft = InstanceDraft(self.instance)

    def start(self, id: str, spare_blocks: int = 0) -> int | None:
        state = self.board.requests[id]
        return self.draft.start(state, state.known_tokens, spare_blocks)

    def preempt(self, id: str) -> None:
        self.draft.preempt(self.board.requests[id])

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.board.apply(action) is None, action

    def agree(self) -> None:
        """Carry out the draft: nothing may be refused, and no less be free than it said."""
        self.carry_out(self.draft.actions)
        assert self.draft.free_blocks <= self.instance.kv.num_free
        assert self.draft.num_running == len(self.instance.running)


def test_starts_account_for_each_other() -> None:
    one = Drafting(num_blocks=5)
    one.wait("a", 8)
    one.wait("b", 9)
    one.wait("c", 5)
    assert [one.start("a"), one.start("b"), one.start("c")] == [8, 9, None]
    assert one.draft.free_blocks == 0
    assert one.draft.started == {"a": 8, "b": 9}
    one.agree()


def test_spare_blocks_stay_free() -> None:
    one = Drafting(num_blocks=5)
    one.wait("a", 16)
    assert one.start("a", spare_blocks=2) is None
    assert one.draft.actions == []
    assert one.start("a", spare_blocks=1) == 16


def test_growth_is_counted_block_by_block() -> None:
    one = Drafting(num_blocks=3)
    one.run("a", 8)
    state = one.board.requests["a"]
    assert one.draft.extend(state, 1)
    assert one.draft.free_blocks == 0
    assert not one.draft.extend(state, 5)
    assert one.draft.free_blocks == 0


def test_a_preempted_request_gives_its_memory_to_the_next() -> None:
    one = Drafting(num_blocks=4)
    one.run("a", 16)
    one.wait("b", 16)
    assert one.start("b") is None
    one.preempt("a")
    assert one.start("b") == 16
    assert one.draft.actions[0] == Preempt("a")
    one.agree()


def test_a_shared_prefix_is_free_only_when_its_last_holder_goes() -> None:
    one = Drafting(num_blocks=8)
    one.run("a", 9, 1, 2)
    one.run("b", 9, 1, 2)
    assert one.draft.free_blocks == 8 - 4
    one.preempt("a")
    assert one.draft.free_blocks == 8 - 3
    one.preempt("b")
    assert one.draft.free_blocks == 8
    one.agree()


def test_memory_of_a_preempted_request_is_not_given_twice_to_one_with_its_prefix() -> None:
    one = Drafting(num_blocks=4)
    one.run("a", 16, 1, 2, 3, 4)
    one.wait("b", 13, 1, 2, 3)
    one.wait("c", 4)
    one.preempt("a")
    assert one.start("b") == 1  # three blocks found, one new
    assert one.start("c") is None
    one.agree()


def test_a_prefix_that_a_drafted_start_shares_is_not_freed_by_a_later_preemption() -> None:
    one = Drafting(num_blocks=5)
    one.run("a", 16, 1, 2, 3, 4)
    one.wait("b", 13, 1, 2, 3)
    one.wait("c", 8)
    assert one.start("b") == 1
    assert one.draft.free_blocks == 0
    one.preempt("a")
    assert one.draft.free_blocks == 1  # a's last block; b holds the other three
    assert one.start("c") is None
    one.agree()


def test_a_prefix_behind_one_that_may_vanish_is_not_relied_on() -> None:
    one = Drafting(num_blocks=9)
    one.run("first", 5, 1)
    state = one.board.requests["first"]
    one.wait("twin", 9, 1, 2)  # it starts before the prefix is there: it has a first block of its own
    twin = one.board.requests["twin"]
    twin.hashes, hashes = [], twin.hashes
    one.carry_out([Start("twin", {"gpu": {"kv_tokens": 9}})])
    twin.hashes = hashes
    step = Step(instance="gpu", pieces=(Piece("twin", 9),))
    one.carry_out([step])
    one.board.advance(step, 1.0)
    one.board.end(step)
    one.board.finish(state.id, "stop", 1.0)  # the block with hash 1 is cached, the one with hash 2 held by the twin
    assert one.instance.kv.num_free == 6
    one.draft = InstanceDraft(one.instance)
    one.wait("d", 9, 1, 2)
    one.wait("e", 24)
    assert one.start("e") == 24  # takes all that is free, the cached block too
    assert one.start("d") is None
    one.agree()


def test_a_cached_prefix_costs_memory_but_no_computing() -> None:
    one = Drafting(num_blocks=4)
    one.run("a", 9, 1, 2)
    one.board.finish("a", "stop", 1.0)
    one.draft = InstanceDraft(one.instance)
    one.wait("b", 9, 1, 2)
    assert one.draft.cost(one.board.requests["b"], 9) == (3, 8)
    assert one.start("b") == 1
    assert one.draft.free_blocks == 1
    one.agree()


def test_what_comes_back_from_the_host_needs_room_and_is_not_computed_again() -> None:
    drafting = Drafting(num_blocks=8)
    drafting.instance.host_blocks = 8
    drafting.board.can = frozenset({"swap"})
    drafting.run("a", 10)
    drafting.carry_out([Preempt("a", "swap")])
    assert drafting.board.apply(Start("a", {"gpu": {"kv_tokens": 4}})) is not None  # 10 tokens come back
    draft, state = InstanceDraft(drafting.instance), drafting.board.requests["a"]
    assert draft.start(state, 4) == 1
    drafting.carry_out(draft.actions)
    assert (state.left_tokens, len(state.blocks), draft.free_blocks) == (1, 3, drafting.instance.kv.num_free)
