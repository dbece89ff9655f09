"""Measures what this machine can do at best, in a process of its own: bytes read and products, per second.

    python benchmarks/race/limits.py THREADS

Limits are what the fastest tenth of many tries reached: a single best can be a slip of a virtual clock.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch
from torch.nn.functional import linear

STREAM_BYTES = 1 << 29
ROWS, INPUTS, OUTPUTS = 1024, 2048, 4096


def best_s(run: Callable[[], object], budget_s: float = 1.5) -> float:
    """Return the time that a tenth of the tries of `run` stayed below, trying for about `budget_s` seconds."""
    run()
    times, end = [], time.perf_counter() + budget_s
    while time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 10]


def read_bytes_per_s() -> float:
    """Measure how fast memory is read."""
    stream = torch.ones(STREAM_BYTES // 4)
    return STREAM_BYTES / min(best_s(stream.sum), best_s(stream.amax))


def flops_per_s(dtype: torch.dtype) -> float:
    """Measure the fastest product of large matrices that torch or our own kernels reach."""
    x, weight = torch.randn(ROWS, INPUTS).to(dtype), torch.randn(OUTPUTS, INPUTS).to(dtype)
    found = [best_s(lambda: linear(x, weight))]
    try:
        from headway.engines.llm.native import kernels
    except ImportError:
        pass
    else:
        own = kernels()
        packed = own.pack(weight)
        found.append(best_s(lambda: own.linear(x, packed)))
    return 2 * ROWS * INPUTS * OUTPUTS / min(found)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    print(
        json.dumps(
            {
                "read_bytes_per_s": read_bytes_per_s(),
                "float32_flops_per_s": flops_per_s(torch.float32),
                "bfloat16_flops_per_s": flops_per_s(torch.bfloat16),
            }
        )
    )
