"""Attention in parts is attention in one piece, wherever the parts lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engines.llm.model.driving import BLOCK_SIZE, greedy, make_runner, random_tokens
from engines.llm.model.models import save_model
from headway.core.errors import ConfigError, EngineError
from headway.engines.llm.model.holder import Holder, KvHolder
from headway.engines.llm.model.holder_wire import RemoteHolder
from headway.engines.llm.model.rows import Row
from headway.engines.llm.model.runner import Runner
from headway.engines.llm.model.split_attention import attend_part, combine

HEADS, DIM = 4, 16


def drawn(num_queries: int, num_keys: int, kv_heads: int, seed: int, size: float = 1.0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return size * torch.randn(shape, generator=generator)

    return normal(num_queries, HEADS, DIM), normal(num_keys, kv_heads, DIM), normal(num_keys, kv_heads, DIM)


def in_one_piece(q: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    grown = [x.repeat_interleave(HEADS // x.shape[1], dim=1).transpose(0, 1) for x in (keys, values)]
    return torch.nn.functional.scaled_dot_product_attention(q.transpose(0, 1), *grown, scale=scale).transpose(0, 1)


@settings(max_examples=60, deadline=None)
@given(
    kv_heads=st.sampled_from([1, 2, 4]),  # MQA, GQA, MHA
    num_queries=st.integers(1, 3),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any),
    size=st.sampled_from([0.1, 1.0, 20.0]),
    seed=st.integers(0, 99),
)
def test_parts_combine_to_the_whole(
    kv_heads: int, num_queries: int, lengths: list[int], size: float, seed: int
) -> None:
    q, keys, values = drawn(num_queries, sum(lengths), kv_heads, seed, size)
    parts = [attend_part(q, k, v, 0.25) for k, v in zip(keys.split(lengths), values.split(lengths), strict=True)]
    torch.testing.assert_close(
        combine(parts), in_one_piece(q, keys, values, 0.25), atol=2e-5 * max(size, size**2), rtol=1e-4
    )


def test_the_order_of_parts_does_not_matter() -> None:
    q, keys, values = drawn(2, 12, 2, seed=1)
    parts = [attend_part(q, keys[i : i + 4], values[i : i + 4], 0.25) for i in (0, 4, 8)]
    torch.testing.assert_close(combine(parts), combine(parts[::-1]))


def test_a_query_that_sees_nothing_gets_zeros() -> None:
    q, keys, values = drawn(1, 3, 1, seed=2)
    hidden = torch.zeros(1, 3, dtype=torch.bool)
    part = attend_part(q, keys, values, 0.25, visible=hidden)
    assert part.weight.eq(0).all()
    assert combine([part, attend_part(q, keys[:0], values[:0], 0.25)]).eq(0).all()


def test_bfloat16_parts_are_kept_in_float32() -> None:
    q, keys, values = (x.bfloat16() for x in drawn(1, 64, 2, seed=3))
    parts = [attend_part(q, keys[i : i + 16], values[i : i + 16], 0.25) for i in range(0, 64, 16)]
    assert all(tensor.dtype == torch.float32 for part in parts for tensor in part)
    whole = attend_part(q, keys, values, 0.25)
    torch.testing.assert_close(combine(parts), combine([whole]), atol=1e-5, rtol=1e-5)


@pytest.fixture(params=["memory", "process"])
def holder(request: pytest.FixtureRequest) -> Iterator[Holder]:
    if request.param == "memory":
        yield KvHolder(64)
        return
    remote = RemoteHolder(64)
    yield remote
    remote.close()


def test_a_holder_refuses_what_it_has_no_room_for_and_forgets(holder: Holder) -> None:
    assert holder.reserve(1, 48)
    assert not holder.reserve(2, 32)
    holder.drop(1)
    assert holder.reserve(2, 64)


def test_putting_more_than_was_reserved_is_an_error() -> None:
    held = KvHolder(8)
    assert held.reserve(1, 4)
    with pytest.raises(EngineError, match="4 tokens, got 5"):
        held.put(1, 0, torch.zeros(5, 1, 2), torch.zeros(5, 1, 2))


def test_a_holder_that_is_gone_is_an_error() -> None:
    remote = RemoteHolder(8)
    remote._process.kill()
    remote._process.wait()
    with pytest.raises((EngineError, ConnectionError)):
        remote.reserve(1, 4)
    remote.close()


# On a model ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[1, 2, 4], ids=["mqa", "gqa", "mha"])
def runner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp(f"llama-{request.param}")
    save_model("llama", folder, seed=request.param, num_key_value_heads=request.param)
    return make_runner(folder)


def greedy_lending(
    runner: Runner, prompt: list[int], num_tokens: int, lend: dict[int, tuple[int, Holder]]
) -> list[int]:
    """Continue a prompt; after so many tokens, lend so many blocks and let somebody else write over them."""
    slot = runner.open(prompt)
    runner.set_blocks(slot, list(range(8)))
    start, tokens, given, num_lent = 0, len(prompt), list[int](), 0
    while len(given) < num_tokens:
        logits = runner.run([Row(slot, start, tokens)])
        assert logits is not None
        start, tokens = start + tokens, 1
        given.append(int(logits[0].argmax()))
        runner.append([slot], [given[-1]])
        if len(given) in lend:
            num_blocks, to = lend[len(given)]
            assert runner.lend(slot, num_blocks, to)
            overwrite(runner, list(range(num_lent, num_lent + num_blocks)))
            num_lent += num_blocks
    runner.close(slot)
    return given


def overwrite(runner: Runner, blocks: list[int]) -> None:
    thief = random_tokens(len(blocks) * BLOCK_SIZE, seed=99)
    greedy(runner, thief, 1, blocks)


def test_tokens_are_the_same_with_parts_elsewhere(runner: Runner, holder: Holder) -> None:
    prompt = random_tokens(30, seed=7)
    expected = greedy(runner, prompt, 24, range(8))
    other = KvHolder(64)
    assert greedy_lending(runner, prompt, 24, {1: (2, holder), 9: (1, other), 12: (1, holder)}) == expected
    assert other.free_tokens == 64  # all is given back in the end
    assert holder.reserve(0, 64)


def test_a_prompt_goes_on_over_blocks_that_are_lent(runner: Runner, holder: Holder) -> None:
    prompt = random_tokens(40, seed=8)
    slot = runner.open(prompt)
    runner.set_blocks(slot, list(range(5)))
    whole = runner.run([Row(slot, 0, 40)])
    runner.run([Row(slot, 0, 24, sample=False)])
    assert runner.lend(slot, 3, holder)
    overwrite(runner, [0, 1, 2])
    beside = runner.open(prompt)
    runner.set_blocks(beside, list(range(8, 13)))
    parts = runner.run([Row(beside, 0, 40), Row(slot, 24, 16)])
    assert whole is not None
    assert parts is not None
    torch.testing.assert_close(parts, whole.expand(2, -1), atol=1e-4, rtol=1e-4)
    runner.close(slot)
    runner.close(beside)


def test_a_full_holder_changes_nothing(runner: Runner) -> None:
    prompt = random_tokens(30, seed=9)
    slot = runner.open(prompt)
    runner.set_blocks(slot, list(range(4)))
    before = runner.run([Row(slot, 0, 30)])
    assert not runner.lend(slot, 2, KvHolder(2 * BLOCK_SIZE - 1))
    after = runner.run([Row(slot, 29, 1)])
    assert before is not None
    assert after is not None
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    runner.close(slot)


def test_models_with_windows_do_not_lend(tmp_path: Path) -> None:
    save_model("mistral", tmp_path)
    runner = make_runner(tmp_path)
    slot = runner.open(random_tokens(16, seed=1))
    with pytest.raises(ConfigError, match="sliding windows"):
        runner.lend(slot, 1, KvHolder(64))


def test_a_step_sends_little_more_than_queries_and_parts(runner: Runner) -> None:
    remote = RemoteHolder(64)
    prompt = random_tokens(30, seed=7)
    slot = runner.open(prompt)
    runner.set_blocks(slot, list(range(8)))
    runner.run([Row(slot, 0, 30)])
    runner.append([slot], [5])
    assert runner.lend(slot, 2, remote)
    sent, received = remote.line.sent_bytes, remote.line.received_bytes
    runner.run([Row(slot, 30, 1)])
    layers, numbers = runner.facts.num_layers, HEADS * DIM
    assert 0 < remote.line.sent_bytes - sent - layers * numbers * 4 < layers * 80
    assert 0 < remote.line.received_bytes - received - layers * (numbers + 2 * HEADS) * 4 < layers * 120
    runner.close(slot)
    remote.close()
