"""How fast passes, Adam and memory are here, so that a policy can choose a width before the first step."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from headway.core.nouns import Seconds
from headway.engines.tuning.lsp_offload import Rates
from headway.engines.tuning.lsp_offload_adam import HostAdam
from headway.engines.tuning.lsp_offload_layers import Layered, plain_loss


def measured(
    model: Layered, batch: Tensor, *, down_bytes_per_s: float, up_bytes_per_s: float, num_runs: int = 3
) -> Rates:
    """Measure a model's passes, the host's Adam and the accelerator's memory; the links' rates are given.

    A third of a step's time is taken to be the forward pass, as is usual where nothing is computed again.
    """
    weights = [one for layer in model.layers for one in layer.parameters()]
    step_s = _median_s(lambda: _pass(model, batch, weights), num_runs, weights[0].device)
    gradient, adam = torch.zeros(1 << 20), HostAdam(1e-3)
    adam_s = _median_s(lambda: adam.update("probe", gradient, 0), num_runs, gradient.device)
    block = torch.zeros(1 << 22, device=weights[0].device)
    copy_s = _median_s(block.clone, num_runs, block.device)
    return Rates(
        down_bytes_per_s=down_bytes_per_s,
        up_bytes_per_s=up_bytes_per_s,
        memory_bytes_per_s=2 * block.numel() * block.element_size() / copy_s,
        params_per_s=gradient.numel() / adam_s,
        forward_s=step_s / 3 / len(model.layers),
        backward_s=step_s * 2 / 3 / len(model.layers),
    )


def _pass(model: Layered, batch: Tensor, weights: list[torch.nn.Parameter]) -> None:
    torch.autograd.backward(plain_loss(model, batch))
    for weight in weights:
        weight.grad = None


def _median_s(do: Callable[[], object], num_runs: int, device: torch.device) -> Seconds:
    took_s = []
    for _ in range(num_runs + 1):  # the first also warms up
        start_s = time.perf_counter()
        do()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took_s.append(time.perf_counter() - start_s)
    return median(took_s[1:])
