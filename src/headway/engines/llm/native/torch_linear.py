"""Linear layers over weights packed once for oneDNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from headway.engines.llm.native.packed import WeightKind

_DTYPE_OF: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
_ROWS_HINT = 16  # oneDNN chooses its layout for a number of rows; this one serves 1 to 512 within a few percent


@dataclass(frozen=True, eq=False)
class TorchPacked:
    """A weight in oneDNN's own layout, or as it was where oneDNN cannot help."""

    data: Tensor
    scales: Tensor | None
    num_outputs: int
    num_inputs: int
    kind: str
    onednn: bool

    @property
    def num_bytes(self) -> int:
        """Memory held by the packed form, in bytes."""
        return self.num_outputs * self.num_inputs * int(_DTYPE_OF[self.kind].itemsize)


def kind_of(weight: Tensor, kind: WeightKind | None) -> WeightKind:
    """Return the packed kind asked for, or the weight's own."""
    return kind or cast(WeightKind, str(weight.dtype).removeprefix("torch."))


def quantise_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row of a `[N, K]` weight to int8 with one scale: `[N, K]` int8 and `[N]` float32."""
    wide = weight.float()
    largest = wide.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    return (wide * (127.0 / largest).unsqueeze(1)).round_().to(torch.int8), largest / 127.0


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row of `x [M, K]` to 8 bits around 128: `[M, K]` uint8 and scales `[M, 1]` float32."""
    wide = x.float()
    largest = wide.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return ((wide * (127.0 / largest)).round_() + 128.0).to(torch.uint8), largest / 127.0


def pack(weight: Tensor, kind: WeightKind | None) -> TorchPacked:
    """Lay a `[N, K]` weight out for `linear`."""
    chosen = kind_of(weight, kind)
    num_outputs, num_inputs = weight.shape
    if chosen == "int8":
        data, scales = quantise_weight(weight)
        data = torch.ops.onednn.qlinear_prepack(data, [_ROWS_HINT, num_inputs])
        return TorchPacked(data, scales, num_outputs, num_inputs, chosen, True)
    plain = weight.detach().to(_DTYPE_OF[chosen]).contiguous()
    if plain.device.type != "cpu" or not _onednn_serves(plain.dtype):
        return TorchPacked(plain, None, num_outputs, num_inputs, chosen, False)
    data = torch.ops.mkldnn._reorder_linear_weight(plain, _ROWS_HINT)
    return TorchPacked(data, None, num_outputs, num_inputs, chosen, True)


def _onednn_serves(dtype: torch.dtype) -> bool:
    if not torch._C._has_mkldnn:
        return False
    return dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def linear(x: Tensor, packed: TorchPacked, bias: Tensor | None) -> Tensor:
    """Multiply `x [M, K]` by the packed weight and add the bias."""
    if packed.kind == "int8":
        return _linear_int8(x, packed, bias)
    x = x.to(_DTYPE_OF[packed.kind])
    if bias is not None:
        bias = bias.to(x.dtype)
    if not packed.onednn:
        return torch.nn.functional.linear(x, packed.data, bias)
    return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, packed.data, bias, "none", [], ""))


def _linear_int8(x: Tensor, packed: TorchPacked, bias: Tensor | None) -> Tensor:
    rows, row_scales = quantise_rows(x)
    zeros = torch.zeros(packed.num_outputs, dtype=torch.int64)
    sums = torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, 128, packed.data, packed.scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    out = cast(Tensor, sums) * row_scales
    return out if bias is None else out + bias.float()
