"""The engine loop over a fake model: every request gets exactly its tokens, whatever happens around it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.llm.loop.fakes import Bench, FakeFacts, FakeLine, FakeRunner, continuation, run_script, submit
from headway.core.actions import Action, Move, Reject, Start, Wake
from headway.core.drivers import serve
from headway.core.errors import EngineError
from headway.core.events import Event, Woke
from headway.core.policy import Policy
from headway.engines.llm.messages import Cancel, Drain, Submit, ToEngine
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.nouns import Piece, RequestArrived, Step, StepDone
from headway.policies.serving.orca import Orca
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import Batch
from headway.policies.serving.semi_pd import SemiPd
from headway.policies.serving.stack import Stack
from headway.policies.serving.vllm import Vllm

SEATS: dict[str, Batch] = {
    "orca": Orca(max_batch_size=4),
    "vllm": Vllm(max_batched_tokens=24, max_seqs=6),
    "sarathi": SarathiServe(token_budget=9, max_seqs=6),
    "semi-pd": SemiPd(chunk_tokens=9, max_batch=3),
    "semi-pd-static": SemiPd(chunk_tokens=24, prefill_share=0.5, decode_share=0.5, window=0),
}
PROMPTS = st.one_of(
    st.lists(st.integers(3, 90), min_size=1, max_size=30),
    st.integers(1, 30).map(lambda length: [7] * length),  # prefixes in common
)


@st.composite
def submits(draw: st.DrawFn, name: str) -> Submit:
    return submit(
        name,
        draw(PROMPTS),
        adapter=draw(st.sampled_from(["", "", "blue"])),
        max_tokens=draw(st.integers(1, 30)),
        ignore_eos=draw(st.booleans()),
        stop_token_ids=tuple(draw(st.lists(st.integers(3, 96), max_size=2))),
    )


@st.composite
def scripts(draw: st.DrawFn) -> dict[int, list[ToEngine]]:
    """Messages by the step before which they come; cancels of some requests, known or not."""
    messages: dict[int, list[ToEngine]] = {}
    for number in range(draw(st.integers(1, 10))):
        messages.setdefault(draw(st.integers(0, 30)), []).append(draw(submits(f"r{number}")))
    for _ in range(draw(st.integers(0, 4))):
        cancel = Cancel(id=f"r{draw(st.integers(0, 11))}", reason=draw(st.sampled_from(["stop", "cancelled"])))
        messages.setdefault(draw(st.integers(0, 40)), []).append(cancel)
    return messages


@settings(max_examples=120, deadline=None)
@given(
    scripts(), st.sampled_from(sorted(SEATS)), st.integers(16, 40), st.sampled_from([2, 4, 8]), st.integers(1, 8),
    st.booleans(),
)  # fmt: skip
def test_every_request_gets_exactly_its_tokens(
    messages: dict[int, list[ToEngine]], seat: str, kv_blocks: int, block_size: int, max_running: int, caching: bool
) -> None:
    # 64 to 160 tokens of memory: one full context fits, several mean preemption.
    num_blocks = kv_blocks * 4 // block_size
    bench, report = run_script(
        Stack(batch=SEATS[seat]),
        messages,
        num_blocks=num_blocks,
        block_size=block_size,
        max_running=max_running,
        caching=caching,
    )
    cancelled = {message.id for group in messages.values() for message in group if isinstance(message, Cancel)}
    sent = [message for group in messages.values() for message in group if isinstance(message, Submit)]
    for request in sent:
        tokens, finish = bench.line.told(request.id)
        wanted, end = continuation(request)
        if finish == end and tokens == wanted:
            continue
        assert request.id in cancelled, (request, tokens, finish)
        assert finish in ("stop", "cancelled")
        assert tokens == wanted[: len(tokens)]
    assert set(bench.line.outputs()) == {request.id for request in sent}
    assert report.num_refused == 0
    bench.check_empty()


class OneByOne:
    """A policy that runs each request by itself, in layer ranges and chunks, then repeats its decodes."""

    def __init__(self, chunk: int, cuts: tuple[int, ...], repeat: int) -> None:
        self.chunk, self.cuts, self.repeat = chunk, cuts, repeat

    def reset(self, rng: np.random.Generator) -> None:
        pass

    def decide(self, event: Event, view: ServingBoard) -> Iterator[Action]:
        (instance,) = view.instances.values()
        if isinstance(event, RequestArrived):
            yield Move(event.work.id, instance.id)
            yield Wake(view.now_s, "go")
            return
        if instance.busy or not instance.num_requests:
            return
        if not instance.running:
            state = next(iter(instance.waiting.values()))
            yield Start(state.id, {instance.id: {"kv_tokens": state.reach_tokens}})
            yield Wake(view.now_s, "go")
            return
        (state,) = instance.running.values()
        if state.decoding:
            yield Step(instance=instance.id, pieces=(state.one,), repeat=self.repeat)
            return
        tokens = min(self.chunk, state.left_tokens)
        last = next(cut for cut in (*self.cuts, instance.num_layers) if cut > state.layers_done)
        yield Step(instance=instance.id, pieces=(Piece(state.id, tokens, (state.layers_done, last)),))


@pytest.mark.parametrize("cuts", [(), (1,), (1, 2), (2,)])
@pytest.mark.parametrize("repeat", [1, 4])
def test_layer_ranges_chunks_and_repeats_change_nothing(cuts: tuple[int, ...], repeat: int) -> None:
    sent = [submit(f"r{n}", range(3, 14 + n), max_tokens=12, ignore_eos=True) for n in range(4)]
    bench, report = run_script(OneByOne(5, cuts, repeat), {0: list(sent)})
    for request in sent:
        assert bench.line.told(request.id) == continuation(request)
    assert report.num_refused == 0
    bench.check_empty()


def test_a_repeated_step_ends_early_when_something_arrives_or_ends() -> None:
    class Watching(OneByOne):
        runs: list[int]

        def reset(self, rng: np.random.Generator) -> None:
            self.runs = []

        def decide(self, event: Event, view: ServingBoard) -> Iterator[Action]:
            if isinstance(event, StepDone):
                self.runs.append(event.num_runs)
            return super().decide(event, view)

    policy = Watching(64, (), 8)
    first = submit("a", [5], max_tokens=12, ignore_eos=True)
    # Step 0 is the prefill; decodes 1 to 3 run until the cancel of a stranger comes with the third; 8 are left.
    run_script(policy, {0: [first], 3: [Cancel(id="stranger")]})
    assert policy.runs == [1, 3, 8]
    assert sum(policy.runs) == 12


def test_outputs_are_prefixes_for_later_prompts() -> None:
    first = submit("a", range(10, 20), max_tokens=7, ignore_eos=True)
    tokens, _ = continuation(first)
    follow_up = submit("b", [*first.prompt, *tokens, 33], max_tokens=5)
    bench, _ = run_script(Stack(batch=SarathiServe()), {0: [first], 100: [follow_up]})
    assert bench.line.told("b") == continuation(follow_up)
    news = bench.line.outputs()["b"]
    assert news[0].cached_tokens == 16  # four full blocks of 4: ten prompt and six of the seven output tokens
    assert all(item.cached_tokens == 0 for item in news[1:])


def test_adapters_do_not_share_prefixes() -> None:
    prompt = list(range(10, 30))
    sent = [submit("a", prompt, max_tokens=3), submit("b", prompt, adapter="blue", max_tokens=3)]
    bench, _ = run_script(Stack(batch=Orca()), {0: [sent[0]], 50: [sent[1]]})
    assert bench.line.told("b") == continuation(sent[1])
    assert bench.line.outputs()["b"][0].cached_tokens == 0


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (submit("x", []), "at least one token"),
        (submit("x", [5] * 64), "context of 64"),
        (submit("x", [5] * 40), "KV memory of 32"),
        (submit("x", [5, 97]), r"\[0, 97\)"),
        (submit("x", [-1]), r"\[0, 97\)"),
        (submit("x", [5], adapter="red"), "adapter"),
        (submit("x", [5], max_tokens=0), "max_tokens"),
        (submit("x", [5], top_p=0.0), "top_p"),
        (submit("x", [5], repetition_penalty=0.0), "repetition_penalty"),
        (submit("x", [5], logit_bias={200: 1.0}), "logit_bias"),
        (submit("x", [5], grammar="{}"), "grammar"),
    ],
)
def test_what_cannot_be_served_is_rejected_with_a_sentence_and_harms_nobody(request_: Submit, why: str) -> None:
    other = submit("other", [4, 5, 6], max_tokens=5)
    bench, _ = run_script(Stack(batch=Vllm()), {0: [other, request_]}, num_blocks=8)
    (item,) = bench.line.outputs()["x"]
    assert (item.finish, item.tokens) == ("rejected", [])
    assert re.search(why, item.why), item.why
    assert bench.line.told("other") == continuation(other)


def test_an_id_in_use_is_rejected() -> None:
    bench, _ = run_script(Stack(batch=Vllm()), {0: [submit("a", [5], max_tokens=9), submit("a", [6])]})
    assert [item.finish for item in bench.line.outputs()["a"]].count("rejected") == 1


class RejectAll:
    """A policy that wants nothing."""

    def reset(self, rng: np.random.Generator) -> None:
        pass

    def decide(self, event: Event, view: ServingBoard) -> Iterable[Action]:
        return [Reject(event.work.id, "not today", 5.0)] if isinstance(event, RequestArrived) else []


def test_a_rejection_by_the_policy_reaches_the_sender() -> None:
    bench, report = run_script(RejectAll(), {0: [submit("a", [5])]})
    (item,) = bench.line.outputs()["a"]
    assert (item.finish, item.why, item.retry_after_s) == ("rejected", "not today", 5.0)
    assert report.num_refused == 0
    bench.check_empty()


def play(policy: Policy[ServingBoard], sent: list[ToEngine], failures: list[Exception]) -> tuple[Bench, FakeLine]:
    """Serve `sent` on a runner whose next steps fail as given, last first."""

    async def go() -> tuple[Bench, FakeLine]:
        line, runner = FakeLine(), FakeRunner(32)
        runner.fail_next = failures
        bench = Bench(runner, line, FakeFacts(), 32, 4)
        line.give(*sent)
        await bench.serve(policy)
        return bench, line

    return asyncio.run(asyncio.wait_for(go(), 30))


def test_a_failing_step_ends_its_requests_and_the_engine_goes_on() -> None:
    class Late(SarathiServe):
        """Lets one request in at a time."""

    first, second = submit("a", [5, 6, 7], max_tokens=4), submit("b", [8, 9], max_tokens=4)
    bench, line = play(Stack(batch=Late(max_seqs=1)), [first, second, Drain()], [ValueError("no such kernel")])
    assert line.told("a") == ([], "error")
    assert "no such kernel" in line.outputs()["a"][-1].why
    assert line.told("b") == continuation(second)
    bench.check_empty()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: device-side assert triggered")])
def test_a_hopeless_failure_ends_the_engine(error: Exception) -> None:
    with pytest.raises(EngineError, match="nothing can run after it"):
        play(Stack(batch=Vllm()), [submit("a", [5])], [error])


def test_a_drained_engine_takes_nothing_new_and_finishes_what_is_here() -> None:
    first, late = submit("a", range(3, 20), max_tokens=20), submit("b", [4])
    bench, line = play(Stack(batch=Vllm()), [first, Drain(), late], [])
    assert line.told("a") == continuation(first)
    assert line.told("b") == ([], "rejected")
    assert "shutting down" in line.outputs()["b"][0].why
    bench.check_empty()


def test_the_engine_ends_when_the_api_process_is_gone() -> None:
    async def go() -> None:
        line = FakeLine()
        bench = Bench(FakeRunner(32), line, FakeFacts(), 32, 4)
        serving = asyncio.ensure_future(bench.serve(Stack(batch=Vllm())))
        await asyncio.sleep(0)
        line.hang_up()
        await serving

    asyncio.run(asyncio.wait_for(go(), 10))


class Sleeper:
    """A policy that only asks to be woken."""

    def reset(self, rng: np.random.Generator) -> None:
        self.tags: list[str] = []

    def decide(self, event: Event, view: ServingBoard) -> Iterator[Action]:
        if isinstance(event, RequestArrived):
            now_s = view.now_s
            yield from (Wake(now_s + 0.02, "later"), Wake(now_s, "now"), Wake(now_s, "now"), Wake(now_s + 0.01, "soon"))
        elif isinstance(event, Woke):
            assert event.at_s == view.now_s
            self.tags.append(event.tag)


def test_wakes_come_in_order_and_equal_ones_once() -> None:
    async def go() -> list[str]:
        line, policy = FakeLine(), Sleeper()
        bench = Bench(FakeRunner(32), line, FakeFacts(), 32, 4)
        line.give(submit("a", [5]))
        serving = asyncio.ensure_future(serve(bench.engine, policy))
        while len(getattr(policy, "tags", [])) < 3:
            await asyncio.sleep(0.001)
        line.give(Cancel(id="a"), Drain())
        await serving
        return policy.tags

    assert asyncio.run(asyncio.wait_for(go(), 10)) == ["now", "soon", "later"]


def test_an_idle_engine_does_not_spin() -> None:
    async def go() -> int:
        line, rounds = FakeLine(), 0
        bench = Bench(FakeRunner(32), line, FakeFacts(), 32, 4)
        listen = bench.engine._listen

        def counting() -> bool:
            nonlocal rounds
            rounds += 1
            return listen()

        bench.engine._listen = counting  # type: ignore[method-assign]
        serving = asyncio.ensure_future(bench.serve(Stack(batch=Vllm())))
        await asyncio.sleep(0.05)
        line.give(Drain())
        await serving
        return rounds

    assert asyncio.run(asyncio.wait_for(go(), 10)) < 5


@pytest.mark.parametrize("seat", ["vllm", "sarathi", "semi-pd"])
def test_preempted_requests_are_computed_again_and_sampled_on(seat: str) -> None:
    """Too little memory for all: greedy and seeded random requests still come out as if alone."""
    greedy = [submit(f"g{n}", range(10 * n, 10 * n + 12), max_tokens=24, ignore_eos=True) for n in range(1, 4)]
    dice = [
        submit(f"d{n}", range(9 * n, 9 * n + 10), max_tokens=24, ignore_eos=True, temperature=4.0, top_k=9, seed=n)
        for n in range(1, 4)
    ]
    crowd, _ = run_script(Stack(batch=SEATS[seat]), {0: [*greedy, *dice]}, num_blocks=24)
    assert crowd.engine.num_preempted > 0
    for request in greedy:
        assert crowd.line.told(request.id) == continuation(request)
    for request in dice:
        alone, _ = run_script(Stack(batch=SEATS[seat]), {0: [request]}, num_blocks=24)
        assert alone.engine.num_preempted == 0
        assert crowd.line.told(request.id) == alone.line.told(request.id)
    crowd.check_empty()
