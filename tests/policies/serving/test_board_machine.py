"""Random actions on a serving board: memory is conserved, refusals change nothing, drafts keep their word."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headway.core.actions import Action, Move, Preempt, Reject, Set, Start
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.lanes import is_taken
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState, RequestState
from policies.serving.making import request

SIZE = 4
NUM_BLOCKS = 7
CHAINS = [tuple(range(8)), (0, 1, 12, 13, 14, 15, 16, 17), (20, 21, 22, 23, 24, 25, 26, 27)]
"""Chains of hashes; the first two share two blocks."""

FIELDS = (
    "id", "known_tokens", "computed_tokens", "output_tokens", "kv_tokens", "hashes", "instance", "layers_done",
    "layers_tokens", "remembered", "num_preempted", "cached_tokens", "first_step_s", "first_token_s", "last_token_s",
    "swapped_tokens", "turn",
)  # fmt: skip


class Board(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.instance = InstanceState("gpu", BlockPool(NUM_BLOCKS, SIZE), num_layers=3)
        self.board = ServingBoard([self.instance], frozenset({"layer_ranges", "repeat", "lanes"}))
        self.steps: list[Step] = []
        self.content: dict[int, int] = {}  # which chain hash the memory of a block really holds
        self.outputs: dict[str, int] = {}
        self.count = 0

    def running(self) -> list[RequestState]:
        """All that hold memory, in a step or not."""
        return [*self.instance.running.values(), *self.instance.flying.values()]

    def free(self) -> list[RequestState]:
        """Those that are in no step."""
        return [state for state in self.instance.running.values() if not is_taken(self.instance, state)]

    def snapshot(self) -> Any:
        requests = [[*(getattr(s, name) for name in FIELDS), *s.blocks] for s in self.board.requests.values()]
        instance, kv = self.instance, self.instance.kv
        memory = (kv.holders(), kv.num_free, kv.num_queried_tokens, kv.num_hit_tokens, [kv.match(c) for c in CHAINS])
        decodes = (list(instance.decodes.pieces), list(instance.prefills), instance.decodes.clock)
        return repr(
            (
                requests,
                list(instance.waiting),
                list(instance.running),
                list(instance.flying),
                self.lanes(),
                memory,
                decodes,
            )
        )

    def lanes(self) -> tuple[bool, int, int, bool]:
        instance = self.instance
        return instance.busy, instance.num_lanes, instance.num_under_way, instance.decodes_held

    def apply(self, action: Action) -> str | None:
        """Carry out an action; a refused one must leave no trace, a started request must have found its own prefix."""
        before = self.snapshot()
        why = self.board.apply(action)
        if why is not None:
            assert self.snapshot() == before, why
        elif isinstance(action, Start):
            state = self.board.requests[action.id]
            num_found = state.computed_tokens // SIZE
            assert [self.content[block] for block in state.blocks[:num_found]] == state.hashes[:num_found]
        elif isinstance(action, Step):
            self.steps.append(action)
        return why

    @rule(prompt=st.integers(1, 16), chain=st.sampled_from(CHAINS))
    def arrive(self, prompt: int, chain: tuple[int, ...]) -> None:
        self.count += 1
        state = self.board.add(request(f"r{self.count}", prompt, most=8, hashes=chain[: prompt // SIZE]))
        state.hashes[:] = chain  # as if its output were known to continue the chain
        self.outputs[state.id] = 0

    @rule(data=st.data())
    def anything(self, data: st.DataObject) -> None:
        """Any action, sensible or not."""
        names = st.sampled_from([*self.outputs, "nobody"])
        ranges = st.sampled_from([None, (0, 1), (1, 3), (0, 3)])
        pieces = st.lists(st.builds(Piece, request=names, tokens=st.integers(-1, 30), layers=ranges), max_size=4)
        tokens = st.fixed_dictionaries({"gpu": st.fixed_dictionaries({"kv_tokens": st.integers(-1, 50)})})
        self.apply(
            data.draw(
                st.one_of(
                    st.builds(Move, names, st.sampled_from(["gpu", "nowhere"])),
                    st.builds(Start, names, tokens),
                    st.builds(Preempt, names),
                    st.builds(Set, st.just("num_lanes"), st.sampled_from([0.0, 1.0, 2.0, 3.0]), st.just("gpu")),
                    st.builds(Reject, names, st.just("no")),
                    st.builds(Step, instance=st.just("gpu"), pieces=pieces.map(tuple), repeat=st.integers(0, 3)),
                )
            )
        )

    @precondition(lambda self: not self.instance.busy)
    @rule(data=st.data())
    def decide(self, data: st.DataObject) -> None:
        """Draft some preemptions, starts and growth in any order; the board must take them all."""
        for name in list(self.board.unrouted):
            assert self.apply(Move(name, "gpu")) is None
        draft = InstanceDraft(self.instance)
        pieces: list[Piece] = []
        for kind in data.draw(st.lists(st.sampled_from(["preempt", "start", "start", "grow"]), min_size=2, max_size=9)):
            (self.draft_start if kind == "start" else self.draft_change)(draft, pieces, kind, data)
        for action in draft.actions:
            assert self.apply(action) is None, action
        if pieces:
            assert self.apply(Step(instance="gpu", pieces=tuple(pieces))) is None
        assert draft.free_blocks <= self.instance.kv.num_free
        assert draft.num_running == self.instance.num_running
        if self.steps and data.draw(st.booleans()):
            self.end(self.steps[-1], stop=False)

    def draft_start(self, draft: InstanceDraft, pieces: list[Piece], _: str, data: st.DataObject) -> None:
        fresh = [state for state in self.instance.waiting.values() if state.id not in draft.started]
        if fresh:
            state = data.draw(st.sampled_from(fresh))
            left = draft.start(state, state.known_tokens + data.draw(st.integers(0, 9)))
            if left is not None:
                pieces.append(Piece(state.id, left))

    def draft_change(self, draft: InstanceDraft, pieces: list[Piece], kind: str, data: st.DataObject) -> None:
        taken = {piece.request for piece in pieces} | draft.preempted
        free = [state for state in self.free() if state.id not in taken and not state.layers_done]
        if free:
            state = data.draw(st.sampled_from(free))
            if kind == "preempt":
                draft.preempt(state)
            elif draft.extend(state, state.left_tokens):
                pieces.append(Piece(state.id, state.left_tokens))

    @precondition(lambda self: self.steps)
    @rule(stop=st.booleans(), data=st.data())
    def step_ends(self, stop: bool, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(self.steps)), stop)

    def end(self, step: Step, stop: bool) -> None:
        self.steps.remove(step)
        for run in range(step.repeat):
            self.write(step)
            for state in self.board.advance(step, 1.0):
                self.outputs[state.id] += 1
            if run + 1 < step.repeat and not self.board.again(step):
                break
        self.board.end(step)
        self.check_lanes()
        for state in [state for state in self.running() if state.id in {piece.request for piece in step.pieces}]:
            if state.output_tokens >= state.request.max_tokens or (stop and state.output_tokens):
                assert self.board.finish(state.id, "stop", 1.0).output_tokens == self.outputs.pop(state.id)

    def write(self, step: Step) -> None:
        """Note what the step leaves in memory; nobody may write where somebody else reads."""
        for piece in step.pieces:
            state = self.instance.running.get(piece.request) or self.instance.flying[piece.request]
            first, last = state.computed_tokens, state.computed_tokens + piece.tokens
            for index in range(first // SIZE, -(-last // SIZE)):
                block = state.blocks[index]
                assert self.instance.kv.num_holders(block) == 1
                self.content.pop(block, None)
                if (index + 1) * SIZE <= last and index < len(state.hashes):
                    self.content[block] = state.hashes[index]

    @precondition(lambda self: len(self.instance.decodes) and not self.instance.busy and not self.instance.decodes_held)
    @rule(repeat=st.integers(1, 3))
    def decode_all(self, repeat: int) -> None:
        """Run all decodes as one, if memory suffices."""
        self.apply(Step(instance="gpu", pieces=self.instance.decodes.pieces, repeat=repeat))

    def check_lanes(self) -> None:
        instance = self.instance
        for index, step in enumerate(self.steps):
            names = {piece.request for piece in step.pieces}
            others = [{piece.request for piece in other.pieces} for other in self.steps[:index]]
            assert all(names.isdisjoint(other) for other in others)
        if instance.num_lanes == 1:
            assert instance.busy == bool(self.steps)
        else:
            assert instance.num_under_way == len(self.steps)
            assert instance.busy == (len(self.steps) >= instance.num_lanes)
        if not self.steps:
            assert not instance.flying
            assert not instance.decodes_held
            assert len(instance.decodes) + len(instance.prefills) == len(instance.running)

    @rule()
    def cancel_first(self) -> None:
        if self.board.requests and not self.steps:
            name = next(iter(self.board.requests))
            self.board.finish(name, "cancelled", 1.0)
            del self.outputs[name]

    @invariant()
    def counts_match_holders(self) -> None:
        expected = [0] * NUM_BLOCKS
        for state in self.running():
            assert len(set(state.blocks)) == len(state.blocks)
            for block in state.blocks:
                expected[block] += 1
        assert self.instance.kv.holders() == tuple(expected)
        assert self.instance.kv.num_free == expected.count(0)

    @invariant()
    def everyone_is_in_one_place(self) -> None:
        places = [*self.board.unrouted, *self.instance.waiting, *self.instance.running, *self.instance.flying]
        assert sorted(places) == sorted(self.board.requests)

    @invariant()
    def progress_is_consistent(self) -> None:
        for state in self.board.requests.values():
            assert state.kv_tokens == len(state.blocks) * SIZE
            assert 0 <= state.computed_tokens <= state.kv_tokens
            assert state.computed_tokens < state.known_tokens
            assert state.known_tokens == state.request.prompt_tokens + state.output_tokens
            if state.id not in self.instance.running and state.id not in self.instance.flying:
                assert not state.blocks
                assert not state.computed_tokens
            if state.id in self.outputs:
                assert state.output_tokens == self.outputs[state.id]  # preemption loses no token

    @invariant()
    def rejected_are_forgotten(self) -> None:
        self.outputs = {name: tokens for name, tokens in self.outputs.items() if name in self.board.requests}


class LanesBoard(Board):
    """The same with several steps under way side by side."""

    def __init__(self) -> None:
        super().__init__()
        assert self.board.apply(Set("num_lanes", 3, of="gpu")) is None


TestBoard = Board.TestCase
TestLanesBoard = LanesBoard.TestCase
TestLanesBoard.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestBoard.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
