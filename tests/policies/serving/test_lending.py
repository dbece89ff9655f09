"""Lent blocks: reserved before they move, free where they were when they have arrived, all given back in the end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headway.core.actions import Action, Move, Preempt, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Copy, Lend, Piece, Step
from headway.policies.serving.state import InstanceState, RequestState
from policies.serving.making import request

SIZE = 4
NAMES = ("a", "b", "c")
CAN = frozenset({"repeat", "lend", "migrate", "copy", "swap"})


def fresh(name: str, num_blocks: int = 8) -> InstanceState:
    return InstanceState(name, BlockPool(num_blocks, SIZE), num_layers=2, host_blocks=9)


def board(num_blocks: int = 8) -> ServingBoard:
    return ServingBoard([fresh(name, num_blocks) for name in NAMES], CAN)


def do(on: ServingBoard, *actions: Action) -> None:
    for action in actions:
        assert on.apply(action) is None, action


def run(on: ServingBoard, instance: str, *pieces: tuple[str, int]) -> None:
    step = Step(instance=instance, pieces=tuple(Piece(*piece) for piece in pieces))
    do(on, step)
    on.advance(step, on.now_s)
    on.end(step)


def started(on: ServingBoard, prompt: int = 18, name: str = "r") -> RequestState:
    """Let a request run at ``a`` with its prompt computed, so that it decodes."""
    on.add(request(name, prompt, most=99))
    do(on, Move(name, "a"), Start(name, {"a": {"kv_tokens": prompt}}))
    run(on, "a", (name, prompt))
    return on.requests[name]


def arrive(on: ServingBoard, name: str = "r") -> None:
    on.lending.over(on.lending.loans[name])


def free(on: ServingBoard) -> dict[str, int]:
    return {name: on.instances[name].kv.num_free for name in on.instances}


def test_blocks_are_reserved_at_once_and_free_at_home_when_they_have_arrived() -> None:
    on = board()
    state = started(on)
    do(on, Lend("r", "b", 3))
    assert free(on) == {"a": 3, "b": 5, "c": 8}
    assert state.away_blocks == 0
    arrive(on)
    assert free(on) == {"a": 6, "b": 5, "c": 8}
    assert (state.away_blocks, len(state.blocks), state.kv_tokens, state.away_tokens) == (3, 2, 20, 12)
    assert on.instances["b"].guests == {"r": 3}
    assert list(on.instances["a"].lent) == ["r"]
    assert on.lending.at("r") == {"b": 3}


def test_a_request_with_lent_blocks_goes_on_growing_at_home() -> None:
    on = board()
    state = started(on)
    do(on, Lend("r", "b", 3))
    arrive(on)
    for _ in range(7):
        run(on, "a", ("r", 1))
    assert state.computed_tokens == 25
    assert (state.away_blocks, len(state.blocks)) == (3, 4)
    assert free(on) == {"a": 4, "b": 5, "c": 8}
    on.finish("r", "stop", 1.0)
    assert free(on) == {"a": 8, "b": 8, "c": 8}
    assert not on.lending
    assert not on.instances["b"].guests
    assert not on.instances["a"].lent


def test_what_comes_home_is_the_newest_that_is_away() -> None:
    on = board()
    state = started(on, 30)
    do(on, Lend("r", "b", 3))
    arrive(on)
    do(on, Lend("r", "c", 2))
    arrive(on)
    assert on.apply(Lend("r", "a", 1, "b")) == "what comes home must be the newest that is away"
    do(on, Lend("r", "a", 2, "c"))
    arrive(on)
    do(on, Lend("r", "a", 1, "b"))
    arrive(on)
    assert (state.away_blocks, len(state.blocks), on.lending.at("r")) == (2, 6, {"b": 2})
    do(on, Lend("r", "c", 2, "b"))  # from one holder to another
    arrive(on)
    assert on.lending.at("r") == {"c": 2}
    assert free(on) == {"a": 2, "b": 8, "c": 6}


def test_a_request_starts_with_memory_on_several_instances() -> None:
    on = board()
    on.add(request("r", 50, most=9))
    do(on, Move("r", "a"))
    assert "fit into the pool" in str(on.apply(Start("r", {"a": {"kv_tokens": 50}})))
    short = Start("r", {"a": {"kv_tokens": 22}, "b": {"kv_tokens": 24}})
    assert "50 tokens are known" in str(on.apply(short))
    do(on, Start("r", {"a": {"kv_tokens": 18}, "b": {"kv_tokens": 28}, "c": {"kv_tokens": 4}}))
    state = on.requests["r"]
    assert (state.away_blocks, len(state.blocks), state.kv_tokens) == (8, 5, 52)
    run(on, "a", ("r", 30))
    assert state.away_tokens == 30
    run(on, "a", ("r", 20))
    assert state.away_tokens == 32
    do(on, Preempt("r"))
    assert free(on) == {"a": 8, "b": 8, "c": 8}
    assert (state.away_blocks, state.computed_tokens) == (0, 0)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (Lend("r", "b", 5), "4 full blocks of it can leave a, 5 asked for"),
        (Lend("r", "b", 0), "at least one block"),
        (Lend("r", "a", 1), "another instance"),
        (Lend("r", "nowhere", 1), "no instance 'nowhere'"),
        (Lend("q", "b", 1), "not running"),
        (Lend("r", "b", 1, "c"), "c holds 0 blocks"),
        (Lend("r", "b", 1, tokens_per_step=0), "at least one token"),
    ],
)
def test_what_cannot_be_lent_changes_nothing(action: Lend, why: str) -> None:
    on = board()
    started(on)
    before = on.fingerprint()
    assert why in str(on.apply(action))
    assert on.fingerprint() == before


def test_a_full_holder_refuses_and_a_second_loan_waits_for_the_first() -> None:
    on = board()
    started(on)
    on.instances["b"].kv.allocate(6)
    assert on.apply(Lend("r", "b", 3)) == "b has no room for it"
    do(on, Lend("r", "b", 2))
    assert on.apply(Lend("r", "c", 1)) == "blocks of it are on their way already"


def test_who_has_lent_neither_moves_nor_is_swapped_or_copied() -> None:
    on = board()
    started(on)
    do(on, Lend("r", "b", 2))
    for action in (Move("r", "c"), Preempt("r", "swap"), Copy("r", "c")):
        assert on.apply(action) == "some of its blocks are lent"


def test_an_executor_that_cannot_lend_says_so() -> None:
    on = ServingBoard([fresh(name) for name in NAMES], frozenset())
    started(on)
    assert on.apply(Lend("r", "b", 1)) == "this executor cannot lend"
    on.add(request("q", 50, most=9))
    do(on, Move("q", "a"))
    refused = on.apply(Start("q", {"a": {"kv_tokens": 30}, "b": {"kv_tokens": 20}}))
    assert refused == "a request starts on exactly one instance"


def test_the_failure_of_a_holder_preempts_those_whose_blocks_it_held() -> None:
    on = board()
    state = started(on)
    other = started(on, 8, "q")
    do(on, Lend("r", "b", 3))
    arrive(on)
    do(on, Lend("q", "b", 1))
    on.fail("b")
    assert list(on.instances["a"].waiting) == ["r"]
    assert state.num_preempted == 1
    assert (other.id in on.instances["a"].running, other.num_preempted) == (True, 0)  # its block was only on its way
    assert not on.lending
    assert free(on) == {"a": 6, "c": 8}


def test_the_failure_of_the_home_frees_the_holder() -> None:
    on = board()
    started(on)
    do(on, Lend("r", "b", 2))
    arrive(on)
    do(on, Lend("r", "c", 1))
    on.fail("a")
    assert list(on.unrouted) == ["r"]
    assert free(on) == {"b": 8, "c": 8}
    assert not on.instances["b"].guests


def test_prefixes_that_leave_are_found_at_home_as_long_as_nobody_needs_their_memory() -> None:
    on = board()
    chain = (1, 2, 3, 4)
    for name in ("r", "q"):
        on.add(request(name, 18, most=99, hashes=chain))
        do(on, Move(name, "a"))
    do(on, Start("r", {"a": {"kv_tokens": 18}}))
    run(on, "a", ("r", 18))
    do(on, Lend("r", "b", 3))
    arrive(on)
    do(on, Start("q", {"a": {"kv_tokens": 18}}))
    assert on.requests["q"].computed_tokens == 16
    for name in ("r", "q"):
        on.finish(name, "stop", 1.0)
    assert free(on) == {"a": 8, "b": 8, "c": 8}
    assert len(on.instances["a"].kv.match(chain)) == 4
    assert on.instances["b"].kv.match(chain) == []


def test_blocks_filled_after_others_have_left_are_remembered_under_their_own_hashes() -> None:
    on = board()
    state = started(on)
    do(on, Lend("r", "b", 2))
    arrive(on)
    state.hashes[:] = [11, 12, 13, 14, 15]
    for _ in range(3):
        run(on, "a", ("r", 1))
    assert on.instances["a"].kv.match([13, 14, 15]) == state.blocks[:3]
    assert on.instances["a"].kv.match([11]) == []


class Machine(RuleBasedStateMachine):
    """Random lending among three instances: no block is lost, held twice or forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.on = board(9)
        self.count = 0

    def states(self) -> list[RequestState]:
        return list(self.on.requests.values())

    @rule(prompt=st.integers(1, 30), where=st.sampled_from(NAMES), split=st.integers(0, 5))
    def arrive(self, prompt: int, where: str, split: int) -> None:
        if where not in self.on.instances:
            return
        self.count += 1
        name = f"r{self.count}"
        self.on.add(request(name, prompt, most=99))
        do(self.on, Move(name, where))
        other = next(o for o in NAMES if o != where)
        rest = prompt - split * SIZE
        amounts = {where: {"kv_tokens": prompt}} if not split else {
            where: {"kv_tokens": max(1, rest)}, other: {"kv_tokens": split * SIZE}
        }  # fmt: skip
        if self.on.apply(Start(name, amounts)) is None:
            run(self.on, where, (name, prompt))

    @rule(data=st.data(), blocks=st.integers(1, 5))
    def lend(self, data: st.DataObject, blocks: int) -> None:
        if self.states():
            name = data.draw(st.sampled_from([state.id for state in self.states()]))
            to, source = data.draw(st.sampled_from(NAMES)), data.draw(st.sampled_from(("", *NAMES)))
            before = self.on.fingerprint()
            if self.on.apply(Lend(name, to, blocks, source)) is not None:
                assert self.on.fingerprint() == before

    @rule(data=st.data())
    def over(self, data: st.DataObject) -> None:
        if self.on.lending.loans:
            self.on.lending.over(data.draw(st.sampled_from(list(self.on.lending.loans.values()))))

    @rule(data=st.data(), how=st.sampled_from(["finish", "preempt", "grow"]))
    def change(self, data: st.DataObject, how: str) -> None:
        ran = [state for state in self.states() if state.decoding]
        if ran:
            state = data.draw(st.sampled_from(ran))
            if how == "finish":
                self.on.finish(state.id, "stop", 0.0)
            elif how == "preempt":
                do(self.on, Preempt(state.id))
            else:
                step = Step(instance=state.instance, pieces=(Piece(state.id, 1),))
                if self.on.apply(step) is None:
                    self.on.advance(step, 0.0)
                    self.on.end(step)

    @rule(which=st.sampled_from(NAMES))
    def fail(self, which: str) -> None:
        if which in self.on.instances:
            lost = self.on.instances[which]
            self.on.fail(which)
            assert not lost.guests
            assert not lost.lent
            for state in list(self.on.unrouted.values()):
                self.on.finish(state.id, "cancelled", 0.0)
            self.on.recover(lost)

    @invariant()
    def every_block_has_one_owner(self) -> None:
        held: dict[str, list[int]] = {name: [] for name in NAMES}
        for state in self.states():
            if state.instance:
                held[state.instance] += state.blocks
        for name, parcels in self.on.lending.parcels.items():
            assert parcels
            assert self.on.requests[name].away_blocks == sum(len(parcel.blocks) for parcel in parcels)
            for parcel in parcels:
                assert parcel.blocks
                held[parcel.holder] += parcel.blocks
        for loan in self.on.lending.loans.values():
            held[loan.to] += loan.blocks
        for name, blocks in held.items():
            kv = self.on.instances[name].kv
            assert len(set(blocks)) == len(blocks)
            assert kv.num_free == kv.num_blocks - len(blocks)

    @invariant()
    def both_sides_know(self) -> None:
        for name, instance in self.on.instances.items():
            known = {other: self.on.lending.at(other).get(name, 0) for other in self.on.lending.parcels}
            assert instance.guests == {other: num for other, num in known.items() if num}
            assert set(instance.lent) == {o for o in known if self.on.requests[o].instance == name}

    @invariant()
    def the_memory_suffices(self) -> None:
        for state in self.states():
            if state.blocks:
                assert state.kv_tokens >= state.computed_tokens


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
