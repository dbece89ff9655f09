from __future__ import annotations

import pytest
import torch
from torch import Tensor

from headway.engines.llm.native import Kernels

TYPES = [torch.float32, torch.bfloat16]


def _assert_close(found: Tensor, exact: Tensor) -> None:
    error = 2e-6 if found.dtype == torch.float32 else 0.01
    torch.testing.assert_close(found.double(), exact, rtol=error, atol=error)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", [16, 37, 896])
@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_rms_norm(either: Kernels, dtype: torch.dtype, width: int, offset: float) -> None:
    x, residual = torch.randn(2, 9, width).to(dtype)
    weight = torch.randn(width).to(dtype)
    for added in (None, residual):
        normed, total = either.rms_norm(x, weight, 1e-5, added, offset)
        wide = x if added is None else x + added
        exact = torch.nn.functional.rms_norm(wide.double(), (width,), weight.double() + offset, 1e-5)
        assert torch.equal(total, wide)
        _assert_close(normed, exact)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", [16, 45, 4864])
def test_gated_activations(either: Kernels, dtype: torch.dtype, width: int) -> None:
    gate_up = (torch.randn(3, 2 * width) * 4).to(dtype)
    gate_up[0, :5] = torch.tensor([-100.0, 100.0, 0.0, -20.0, 1e-6])
    gate, up = gate_up.double().chunk(2, dim=-1)
    silu, gelu = torch.nn.functional.silu(gate) * up, torch.nn.functional.gelu(gate, approximate="tanh") * up
    _assert_close(either.silu_mul(gate_up), silu)
    _assert_close(either.gelu_tanh_mul(gate_up), gelu)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("width", [64, 24])
def test_rotary_turns_pairs_of_halves(either: Kernels, dtype: torch.dtype, width: int) -> None:
    heads = torch.randn(5, 6, 64).to(dtype)
    angle = torch.randn(5, width // 2).repeat(1, 2)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    part = heads[..., :width].double()
    swapped = torch.cat((-part[..., width // 2 :], part[..., : width // 2]), dim=-1)
    exact = part * cos.double().unsqueeze(1) + swapped * sin.double().unsqueeze(1)
    q, k = torch.split(heads.clone(), [4, 2], dim=1)  # views of one buffer, as a fused projection leaves them
    either.rotary(q, k, cos, sin)
    found = torch.cat((q, k), dim=1)
    _assert_close(found[..., :width], exact)
    assert torch.equal(found[..., width:], heads[..., width:])
