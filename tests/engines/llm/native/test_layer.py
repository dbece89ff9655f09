from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from headway.engines.llm.native import DecoderLayer, Kernels, RaggedBatch, WeightKind

HIDDEN, HEADS, KV_HEADS, DIM, BLOCK = 96, 6, 2, 16, 8
QUERIES, CONTEXTS = [1, 40, 1, 9], [70, 40, 1, 30]
CASES: list[tuple[WeightKind, torch.dtype]] = [
    ("float32", torch.float32), ("bfloat16", torch.bfloat16), ("int8", torch.bfloat16), ("int8", torch.float32),
    ("bfloat16", torch.float32),
]  # fmt: skip


def _layer(own: Kernels, kind: WeightKind, dtype: torch.dtype, mlp: int = 160, **changes: Any) -> DecoderLayer:
    dice = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice).mul(shape[-1] ** -0.5)

    def packed(*shape: int) -> Any:
        return own.pack(draw(*shape).to(dtype), kind)

    changes |= {name: draw(size).to(dtype) for name, size in changes.pop("vectors", {}).items()}
    layer = DecoderLayer(
        input_norm=(1 + draw(HIDDEN)).to(dtype), post_attention_norm=(1 + draw(HIDDEN)).to(dtype),
        qkv=packed((HEADS + 2 * KV_HEADS) * DIM, HIDDEN), output=packed(HIDDEN, HEADS * DIM),
        gate_up=packed(2 * mlp, HIDDEN), down=packed(HIDDEN, mlp),
        num_heads=HEADS, num_kv_heads=KV_HEADS, head_dim=DIM, scale=DIM**-0.5, eps=1e-6,
    )  # fmt: skip
    return replace(layer, **changes)


VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"vectors": {"qkv_bias": (HEADS + 2 * KV_HEADS) * DIM}},
    "qwen3": {"vectors": {"q_norm": DIM, "k_norm": DIM}},
    "mistral": {"sliding_window": 20},
    "biases": {"vectors": {"output_bias": HIDDEN, "gate_up_bias": 320, "down_bias": HIDDEN}},
    "odd mlp": {"mlp": 150},
    "gemma": {
        "vectors": {"q_norm": DIM, "k_norm": DIM, "attention_out_norm": HIDDEN, "mlp_out_norm": HIDDEN},
        "norm_offset": 1.0,
        "activation": "gelu_tanh",
        "softcap": 20.0,
    },
}


@pytest.fixture
def step(paged: Callable[..., Any]) -> Callable[..., tuple[Tensor, Any]]:
    """Run some layers on one mixed batch and return the new hidden states and the pools."""

    def run(own: Kernels, layers: list[DecoderLayer], dtype: torch.dtype, ranges: list[int] | None = None) -> Any:
        p = paged(QUERIES, CONTEXTS, KV_HEADS, DIM, BLOCK, dtype)
        pools = [pool.clone() for pool in (p.k_pool, p.v_pool) for _ in layers]
        keys, values = pools[: len(layers)], pools[len(layers) :]
        dice = torch.Generator().manual_seed(5)
        hidden = torch.randn(sum(QUERIES), HIDDEN, generator=dice).to(dtype)
        angle = torch.randn(len(hidden), DIM // 2, generator=dice).repeat(1, 2)
        cuts = ranges or [0, len(layers)]
        for begin, end in pairwise(cuts):
            part = (layers[begin:end], keys[begin:end], values[begin:end])
            hidden = own.decoder_layers(hidden, *part, angle.cos(), angle.sin(), p.batch)
        return hidden, pools

    return run


@pytest.mark.parametrize(("kind", "dtype"), CASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_native_layer_agrees_with_its_twin(
    native: Kernels, twin: Kernels, step: Any, variant: str, kind: WeightKind, dtype: torch.dtype
) -> None:
    one, one_pools = step(native, [_layer(native, kind, dtype, **dict(VARIANTS[variant]))] * 2, dtype)
    other, other_pools = step(twin, [_layer(twin, kind, dtype, **dict(VARIANTS[variant]))] * 2, dtype)
    bound = 2e-5 if (kind, dtype) == ("float32", torch.float32) else 0.1
    assert one.isfinite().all()
    assert (one - other).float().norm() < bound * other.float().norm()
    for a, b in zip(one_pools, other_pools, strict=True):
        assert (a - b).float().nan_to_num().norm() <= bound * b.float().nan_to_num().norm()


@pytest.mark.parametrize(("kind", "dtype"), CASES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_call_gives_the_bits_of_separate_operations(
    native: Kernels, step: Any, variant: str, kind: WeightKind, dtype: torch.dtype
) -> None:
    from headway.engines.llm.native.torch_kernels import TorchKernels

    class Separate(TorchKernels):
        """The layer spelled out, each operation in C++."""

        def __getattribute__(self, name: str) -> Any:
            spelled = {"decoder_layer", "decoder_layers", "_attend", "_block_norm"}
            return object.__getattribute__(self, name) if name in spelled else getattr(native, name)

    layers = [_layer(native, kind, dtype, **dict(VARIANTS[variant]))] * 2
    fused, fused_pools = step(native, layers, dtype)
    apart, apart_pools = step(Separate(), layers, dtype)
    assert torch.equal(fused, apart)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(fused_pools, apart_pools, strict=True))


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_ranges_and_threads_do_not_change_bits(
    native: Kernels, step: Any, kind: WeightKind, dtype: torch.dtype
) -> None:
    layers = [_layer(native, kind, dtype) for _ in range(5)]
    whole, _ = step(native, layers, dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    cut, _ = step(native, layers, dtype, ranges=[0, 2, 3, 5])
    torch.set_num_threads(before)
    assert torch.equal(whole, cut)


@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_a_sequence_has_the_same_bits_alone(
    native: Kernels, paged: Callable[..., Any], kind: WeightKind, dtype: torch.dtype
) -> None:
    p = paged(QUERIES, CONTEXTS, KV_HEADS, DIM, BLOCK, dtype)
    hidden = torch.randn(sum(QUERIES), HIDDEN).to(dtype)
    angle = torch.randn(len(hidden), DIM)
    layer = _layer(native, kind, dtype)

    def run(rows: slice, batch: RaggedBatch) -> Tensor:
        pools = p.k_pool.clone(), p.v_pool.clone()
        return native.decoder_layer(hidden[rows], layer, *pools, angle.cos()[rows], angle.sin()[rows], batch)

    together = run(slice(None), p.batch)
    for s, begin in enumerate([0, 1, 41, 42]):
        rows = slice(begin, begin + QUERIES[s])
        assert torch.equal(run(rows, p.of(range(s, s + 1))), together[rows])


def test_no_tokens_and_no_layers_are_fine(native: Kernels) -> None:
    nothing = RaggedBatch.build([], [], [], BLOCK)
    hidden = torch.randn(0, HIDDEN)
    angles = torch.zeros(0, DIM)
    assert native.decoder_layers(hidden, [], [], [], angles, angles, nothing).shape == (0, HIDDEN)


def test_weights_that_do_not_fit_are_one_clear_error(native: Kernels, paged: Callable[..., Any]) -> None:
    p = paged([1], [1], KV_HEADS, DIM, BLOCK, torch.float32)
    layer = replace(_layer(native, "float32", torch.float32), down=native.pack(torch.randn(HIDDEN, 64)))
    angles = torch.zeros(1, DIM)
    with pytest.raises(RuntimeError, match="the shapes of its weights must agree"):
        native.decoder_layer(torch.randn(1, HIDDEN), layer, p.k_pool, p.v_pool, angles, angles, p.batch)
