"""Headway's own policy, by hand and in a small world of promises."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.actions import Move
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.nouns import Slo
from headway.core.session import Session
from headway.core.slo import SloClass
from headway.policies.serving.accounts import RequestAccounts
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.draft import InstanceDraft
from headway.policies.serving.headway import Headway
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, Step
from headway.policies.serving.pace import Pace, Shape
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.state import InstanceState
from headway.policies.serving.wrap import as_policy
from headway.sim.serving.random_requests import RandomRequests
from headway.sim.serving.world import ServingWorld


class Even(Pace):
    """A pace that is known: 1 ms per token and 10 ms per step."""

    def step_s(self, instance: InstanceState, shape: Shape) -> float:
        return 0.01 + 1e-3 * (shape.num_decodes + shape.prefill_tokens)


class Around:
    """What a seat joins in these tests."""

    pace = Even()


class Table:
    """An instance on which the seat is asked by hand."""

    def __init__(self, seat: Headway | None = None, num_blocks: int = 256) -> None:
        self.seat = seat or Headway(max_chunk_tokens=512, min_chunk_tokens=16, margin_frac=0.0)
        self.seat.join(Around())  # type: ignore[arg-type]
        self.seat.reset(np.random.default_rng(0))
        self.instance = InstanceState("gpu", BlockPool(num_blocks), num_layers=2)
        self.board = ServingBoard([self.instance])

    def arrive(self, id: str, prompt: int, ttft_s: float | None = None, tpot_s: float | None = None) -> None:
        work = Request(
            id=id, arrival_s=self.board.now_s, prompt_tokens=prompt, max_tokens=50, ttft_s=ttft_s, tpot_s=tpot_s
        )
        self.board.add(work)
        assert self.board.apply(Move(id, "gpu")) is None

    def turn(self) -> list[tuple[str, int]]:
        draft = InstanceDraft(self.instance)
        step = self.seat.form(self.instance, draft, self.board.now_s)
        for action in draft.actions:
            assert self.board.apply(action) is None
        assert isinstance(step, Step)
        assert self.board.apply(step) is None
        shape = Shape(0, 0, step.num_tokens)
        self.board.now_s += Around.pace.step_s(self.instance, shape)
        self.board.advance(step, self.board.now_s)
        self.board.end(step)
        return [(piece.request, piece.tokens) for piece in step.pieces]


def test_prompts_go_by_their_due_dates_and_best_effort_last() -> None:
    table = Table()
    table.arrive("batch", 100)
    table.arrive("slack", 100, ttft_s=5.0)
    table.arrive("urgent", 100, ttft_s=1.0)
    assert table.turn() == [("urgent", 100), ("slack", 100), ("batch", 100)]


def test_when_not_all_can_be_in_time_the_longest_gives_way() -> None:
    table = Table()
    table.arrive("long", 400, ttft_s=0.5)
    table.arrive("a", 200, ttft_s=0.6)
    table.arrive("b", 200, ttft_s=0.6)
    assert [name for name, _ in table.turn()][:2] == ["a", "b"]


def test_who_is_late_waits_for_those_who_are_not() -> None:
    table = Table()
    table.arrive("late", 100, ttft_s=0.01)
    table.arrive("in time", 500, ttft_s=2.0)
    assert table.turn() == [("in time", 500), ("late", 12)]


def test_a_step_is_no_longer_than_the_next_token_of_a_decode_may_wait() -> None:
    table = Table()
    table.arrive("decode", 10, ttft_s=1.0, tpot_s=0.1)
    table.turn()
    table.arrive("prompt", 500, ttft_s=3.0)
    (decode, chunk) = table.turn()
    assert decode == ("decode", 1)
    assert 64 <= chunk[1] <= 89  # 10 ms for the step, 1 ms for each of 89 tokens and of the decode, in steps of 16


def test_tokens_that_came_early_make_room_for_longer_steps() -> None:
    table = Table()
    table.arrive("decode", 10, ttft_s=1.0, tpot_s=0.1)
    for _ in range(4):
        table.turn()  # four tokens in a fraction of the time they may take
    table.arrive("prompt", 500, ttft_s=3.0)
    assert table.turn()[1][1] > 200


def test_decodes_that_are_behind_still_leave_the_least_chunk() -> None:
    table = Table()
    table.arrive("decode", 10, ttft_s=1.0, tpot_s=0.001)
    table.turn()
    table.arrive("prompt", 500, ttft_s=9.0)
    assert table.turn()[1] == ("prompt", 16)


def test_a_request_goes_where_it_is_in_time_and_there_to_its_prefix() -> None:
    seat = Headway(max_chunk_tokens=512, margin_frac=0.0)
    seat.join(Around())  # type: ignore[arg-type]
    seat.reset(np.random.default_rng(0))
    board = ServingBoard([InstanceState(name, BlockPool(256), num_layers=2) for name in ("cold", "warm")])
    warm = board.instances["warm"].kv
    for hash_, block in enumerate(warm.allocate(4)):
        warm.remember(block, hash_)

    def route(id: str, ttft_s: float) -> str:
        hashes = (0, 1, 2, 3)
        work = Request(id=id, arrival_s=0.0, prompt_tokens=70, max_tokens=4, hashes=hashes, ttft_s=ttft_s)
        state = board.add(work)
        found = seat.pick(state, board)
        assert board.apply(Move(id, found)) is None
        return found

    assert route("a", 10.0) == "warm"
    board.add(Request(id="big", arrival_s=0.0, prompt_tokens=900, max_tokens=4, ttft_s=10.0))
    assert board.apply(Move("big", "warm")) is None
    assert route("b", 10.0) == "warm"
    assert route("c", 0.5) == "cold"  # behind the big one it would be late


@pytest.mark.parametrize("name", ["max_chunk_tokens", "min_chunk_tokens", "max_seqs", "margin_frac", "watermark_frac"])
def test_parameters_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"serving/headway: {name}"):
        Headway(**{name: -1})


def test_more_promises_are_kept_than_by_sarathi_when_there_is_too_much_to_do() -> None:
    promise = SloClass(name="default", slos=(Slo("ttft_s", 0.3), Slo("tpot_s", 0.05)))
    kept = {}
    for seat in (SarathiServe(token_budget=256), Headway()):
        requests = RandomRequests(rate_per_s=120.0, num_requests=300).draw(1)
        instance = InstanceState("gpu", BlockPool(2048), num_layers=8)
        world = ServingWorld(requests, [instance], promises=[promise])
        accounts = RequestAccounts([promise])
        policy = as_policy("batch", seat)
        simulate(world, policy, session=Session(policy, world.view, accounts=accounts))
        kept[type(seat).__name__] = accounts.ledger.num_good / accounts.ledger.num_seen
    assert kept["Headway"] > kept["SarathiServe"]
