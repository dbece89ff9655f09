"""Sarathi-Serve, against its three passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.state import InstanceState, RequestState
from policies.serving.making import OneInstance, Pieces


def test_decodes_come_first_and_a_chunk_takes_what_is_left_of_the_budget() -> None:
    one = OneInstance(SarathiServe(token_budget=64))
    one.arrive("a", prompt=20)
    assert one.turn() == [("a", 20)]
    one.arrive("b", prompt=130)
    assert one.turn() == [("a", 1), ("b", 63)]
    assert one.turn() == [("a", 1), ("b", 63)]
    assert one.state("b").output_tokens == 0
    assert one.turn() == [("a", 1), ("b", 4)]
    assert one.state("b").output_tokens == 1  # the last chunk yields the first token
    assert one.turn() == [("a", 1), ("b", 1)]


def test_prompts_under_way_go_on_before_new_ones_start() -> None:
    one = OneInstance(SarathiServe(token_budget=64))
    one.arrive("a", prompt=100)
    assert one.turn() == [("a", 64)]
    one.arrive("b", "c", prompt=20)
    assert one.turn() == [("a", 36), ("b", 20), ("c", 8)]
    assert one.turn() == [("a", 1), ("b", 1), ("c", 12)]


def test_decodes_beyond_the_budget_still_run_and_nothing_else_does() -> None:
    one = OneInstance(SarathiServe())
    one.arrive("a", "b", "c", prompt=1, most=50)
    one.turn()
    one.seat = SarathiServe(token_budget=2)  # takes over
    one.arrive("d", prompt=5)
    assert one.turn() == [("a", 1), ("b", 1), ("c", 1)]
    assert one.waiting == ["d"]


def test_one_last_prompt_token_is_under_the_budget_like_any_other() -> None:
    one = OneInstance(SarathiServe(token_budget=4))
    one.arrive("a", prompt=4, most=50)
    one.turn()
    one.arrive("b", prompt=7)
    one.turn()
    one.turn()
    assert one.state("b").left_tokens == 1
    one.arrive("c", prompt=4)
    assert one.turn() == [("a", 1), ("b", 1), ("c", 2)]


def test_all_blocks_of_a_prompt_are_held_from_admission_on() -> None:
    one = OneInstance(SarathiServe(token_budget=16), num_blocks=64)
    one.arrive("a", prompt=160)
    one.turn()
    assert len(one.state("a").blocks) == 10


def test_admission_leaves_the_watermark_free_but_an_idle_instance_takes_anything() -> None:
    one = OneInstance(SarathiServe(watermark_frac=0.2), num_blocks=10)
    one.arrive("a", prompt=150, most=5)
    assert one.turn() == [("a", 150)]
    two = OneInstance(SarathiServe(watermark_frac=0.2), num_blocks=10)
    two.arrive("a", "b", "c", prompt=48, most=5)
    assert two.turn() == [("a", 48), ("b", 48)]  # a third would leave 1 block, 2 are to stay free
    assert two.waiting == ["c"]


def test_no_more_than_max_seqs_run() -> None:
    one = OneInstance(SarathiServe(max_seqs=2))
    one.arrive("a", "b", "c", prompt=10)
    assert one.turn() == [("a", 10), ("b", 10)]


def test_nobody_overtakes_the_head_of_the_queue() -> None:
    one = OneInstance(SarathiServe(), num_blocks=10)
    one.arrive("a", prompt=80)
    one.turn()
    one.arrive("b", prompt=100)
    one.arrive("c", prompt=10)
    assert one.turn() == [("a", 1)]
    assert one.waiting == ["b", "c"]


def test_the_latest_is_preempted_waits_in_front_and_is_computed_again() -> None:
    one = OneInstance(SarathiServe(watermark_frac=0.0), num_blocks=4)
    one.arrive("a", "b", prompt=31, most=20)
    assert one.turn() == [("a", 31), ("b", 31)]
    one.arrive("c", prompt=5)
    assert one.turn() == [("a", 1), ("b", 1)]
    assert one.turn() == [("a", 1)]  # 33 tokens need a third block
    assert one.preempted == ["b"]
    assert one.waiting == ["b", "c"]
    assert one.state("b").num_preempted == 1
    while "b" not in one.running:
        assert "c" not in one.running
        pieces = one.turn()
    assert ("b", 33) in pieces  # prompt and the two tokens it had been given
    assert one.state("b").output_tokens == 3


def test_the_last_one_preempts_itself_when_memory_is_held_by_nobody_it_could_take_it_from() -> None:
    one = OneInstance(SarathiServe(watermark_frac=0.0), num_blocks=4)
    one.arrive("a", prompt=32, most=20)
    one.turn()
    one.instance.kv.pin("someone", one.instance.kv.allocate(2))
    assert one.turn() == []
    assert one.preempted == ["a"]
    assert one.waiting == ["a"]


def test_a_cached_prefix_is_not_computed_again() -> None:
    one = OneInstance(SarathiServe())
    one.arrive("a", prompt=40, most=1, hashes=(1, 2))
    one.turn()
    one.arrive("b", prompt=40, hashes=(1, 2))
    one.arrive("c", prompt=40, hashes=(1, 3))
    assert one.turn() == [("b", 8), ("c", 24)]
    assert one.state("b").cached_tokens == 32


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"token_budget": 0}, "token_budget must be >= 1, got 0. Try 512"),
        ({"max_seqs": 0}, "max_seqs must be >= 1, got 0"),
        ({"watermark_frac": 1.0}, r"watermark_frac must be in \[0, 1\), got 1.0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=f"serving/sarathi: {said}"):
        SarathiServe(**parameters)  # type: ignore[arg-type]


def by_the_book(instance: InstanceState, budget: int, most: int, watermark: int) -> tuple[Pieces, list[str]]:
    """The loop of the specification, word for word, over counts of blocks; for memory without a prefix cache."""
    book = _Book(instance, budget)
    while book.unvisited:
        book.visit(book.unvisited.pop(0))
    for r in book.running:
        if r not in book.decoding and book.left(r) > 0:
            book.take(r, book.left(r))
    while book.queue and len(book.running) < most:
        r = book.queue[0]
        need = -(-r.known_tokens // instance.kv.block_size)
        if book.free - need < (watermark if book.running else 0) or min(r.known_tokens, budget - book.tokens) <= 0:
            break
        book.free -= need
        book.running.append(book.queue.pop(0))
        book.take(r, min(r.known_tokens, budget - book.tokens))
    return book.batch, sorted(book.preempted)


class _Book:
    def __init__(self, instance: InstanceState, budget: int) -> None:
        self.budget = budget
        self.size, self.free = instance.kv.block_size, instance.kv.num_free
        self.queue = list(instance.waiting.values())
        self.unvisited = list(instance.running.values())
        self.running: list[RequestState] = []
        self.decoding: list[RequestState] = []
        self.batch: Pieces = []
        self.preempted: list[str] = []
        self.tokens = 0

    def left(self, r: RequestState) -> int:
        return min(r.left_tokens, self.budget - self.tokens)

    def take(self, r: RequestState, tokens: int) -> None:
        self.batch.append((r.id, tokens))
        self.tokens += tokens

    def visit(self, r: RequestState) -> None:
        if r.left_tokens > 1 or r.output_tokens == 0:
            self.running.append(r)
            return
        need = max(0, -(-(r.computed_tokens + 1 - r.kv_tokens) // self.size))
        while self.free < need:
            victim = self.unvisited.pop() if self.unvisited else r
            self.free += len(victim.blocks)
            self.preempted.append(victim.id)
            self.queue.insert(0, victim)
            if victim is r:
                return
        self.free -= need
        self.running.append(r)
        self.decoding.append(r)
        self.take(r, 1)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 120), st.integers(1, 40)), min_size=1, max_size=12),
    budget=st.integers(1, 100),
    most=st.integers(1, 6),
    watermark=st.integers(0, 3),
    turns_between=st.integers(0, 3),
)
def test_every_step_is_that_of_the_specification(
    lengths: list[tuple[int, int]], budget: int, most: int, watermark: int, turns_between: int
) -> None:
    one = OneInstance(SarathiServe(token_budget=budget, max_seqs=most, watermark_frac=watermark / 12), num_blocks=12)
    to_come = [(f"r{i}", prompt, output) for i, (prompt, output) in enumerate(lengths)]
    num_turns = 0
    while to_come or one.board.requests:
        if to_come and num_turns % (turns_between + 1) == 0:
            name, prompt, output = to_come.pop(0)
            one.arrive(name, prompt=prompt, most=output)
        expected = by_the_book(one.instance, budget, most, watermark)
        assert (one.turn(), one.preempted) == expected
        num_turns += 1
        assert num_turns < 5000
    assert one.instance.kv.num_free == 12
