"""What a contender is asked to simulate; nothing but the standard library, for peers read it in their own Python."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RATE_PER_S = 6.45
"""Arrivals per second of one replica: what one A100 keeps up with on the Azure conversation trace."""
BLOCK_SIZE, NUM_BLOCKS = 16, 16_384
MAX_SEQS, TOKEN_BUDGET = 256, 2_048
HASHED_TOKENS = 512
"""Tokens per hashed block in the request files, as in Mooncake's."""


@dataclass(frozen=True)
class Case:
    """One simulation, or one after the other.

    Parameters
    ----------
    name : str
        For tables.
    trace : str
        A shipped trace's name or a file; prompts and outputs are as long as there.
    num_requests : int
        The trace is cut to so many or carried on with its own statistics, >= 1.
    prefixes : str
        ``"none"``: prompts have no hashes. ``"own"``: all have hashes, none of which is shared. ``"shared"``: groups of
        prompts begin alike.
    instances : int
        Replicas, >= 1; arrivals come so many times as often.
    loads : tuple of float
        Factors on the rate of arrivals; one simulation each, in the same process.
    steps : bool
        Whether 64 equal requests at a time are decoded by a policy that sees every step, instead of the trace.
    requests_file : str
        Where the requests are written, one JSON object per line; peers read them there, and so do we when they have
        hashes.
    seed : int
        Of arrivals and lengths.
    accelerator : str
        What our replicas run on.
    """

    name: str
    trace: str
    num_requests: int
    prefixes: str = "none"
    instances: int = 1
    loads: tuple[float, ...] = (1.0,)
    steps: bool = False
    requests_file: str = ""
    seed: int = 0
    accelerator: str = "a100-80gb-sxm"

    @property
    def rate_per_s(self) -> float:
        """Arrivals per second at load 1."""
        return RATE_PER_S * self.instances

    def to_json(self) -> str:
        """Write it down for another process."""
        return json.dumps(asdict(self))

    @staticmethod
    def told() -> Case:
        """Read the case from the command line."""
        fields = json.loads(sys.argv[1])
        return Case(**fields | {"loads": tuple(fields["loads"])})


SPIN_LOOPS = 100_000


def spin_ns() -> float:
    """How long a trivial loop takes per turn, in nanoseconds: how fast this core is just now."""
    start_s = time.perf_counter()
    for _ in range(SPIN_LOOPS):
        pass
    return (time.perf_counter() - start_s) / SPIN_LOOPS * 1e9


class Timed:
    """Adds up what simulations took and came to."""

    def __init__(self) -> None:
        self.simulate_s = self.simulate_cpu_s = 0.0
        self.num_requests = self.num_output_tokens = 0
        self.spins_ns: list[float] = []
        self.facts: list[dict[str, float]] = []

    def run(self, simulate: Callable[[], Any]) -> Any:
        """Time one simulation, and the core before and after."""
        self.spins_ns.append(spin_ns())
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        result = simulate()
        self.simulate_cpu_s += time.process_time() - start_cpu_s
        self.simulate_s += time.perf_counter() - start_s
        self.spins_ns.append(spin_ns())
        return result

    def count(self, num_requests: int, num_output_tokens: int, **facts: float) -> None:
        """Note what came of it."""
        self.num_requests += num_requests
        self.num_output_tokens += num_output_tokens
        self.facts.append({name: value for name, value in facts.items() if math.isfinite(value)})

    def tell(self, **more: Any) -> None:
        """Print everything as the last line."""
        found = vars(self) | {"peak_rss_mb": peak_rss_mb()} | more
        print(json.dumps(found))


def peak_rss_mb() -> float:
    """The most memory that was resident in this process, in 10^6 bytes."""
    try:  # unlike getrusage, this leaves out what the process that started this one held
        text = Path("/proc/self/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
