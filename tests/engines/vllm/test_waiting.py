"""The queue that vLLM is shown behaves as vLLM's own does, once vLLM decides by itself."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed (make vllm)")

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from vllm.v1.core.sched.request_queue import FCFSRequestQueue

from headway.engines.vllm.waiting import Waiting


class Named(Struct, frozen=True):
    request_id: str


CALLS = st.lists(
    st.tuples(st.sampled_from(["add", "prepend", "prepend several", "remove", "pop and skip"]), st.integers(0, 5))
)


@given(calls=CALLS)
def test_in_its_own_order_it_is_a_queue_like_any_other(calls: list[tuple[str, int]]) -> None:
    mine, theirs = Waiting[Named](), FCFSRequestQueue()
    mine.own_order = True
    for number, (call, amount) in enumerate(calls):
        for queue in (mine, theirs):
            _call(queue, call, amount, number)
        assert list(mine) == list(theirs)
        assert (bool(mine), len(mine)) == (bool(theirs), len(theirs))
        assert not mine or mine.peek_request() == theirs.peek_request()


def _call(queue: Any, call: str, amount: int, number: int) -> None:
    new = [Named(f"{number}.{index}") for index in range(amount)]
    if call == "add":
        queue.add_request(Named(f"{number}"))
    elif call == "prepend":
        queue.prepend_request(Named(f"{number}"))
    elif call == "prepend several":
        queue.prepend_requests(new)
    elif call == "remove":
        queue.remove_requests(list(queue)[:amount])
    else:  # what vLLM does with whoever cannot be scheduled now
        skipped: list[Any] = []
        while queue and len(skipped) < amount:
            skipped.insert(0, queue.pop_request())
        queue.prepend_requests(skipped)


def test_only_those_are_shown_who_are_to_start() -> None:
    queue = Waiting[Named]()
    for name in "abcd":
        queue.add_request(Named(name))
    assert not queue
    queue.show(["c", "nobody", "a"])
    assert [queue.pop_request().request_id, queue.pop_request().request_id] == ["c", "a"]
    assert not queue
    assert [request.request_id for request in queue] == ["b", "d"]
