"""What scheduling costs inside vLLM: our scheduler with several policies beside vLLM's own two.

Real scheduler objects decode for many requests at once on a model that computes nothing, by a clock that says how long
it would have taken (the bench of `tests/engines/vllm`). Counted is the processor time of `schedule` and
`update_from_output`, step by step; the queueing of results, serialisation and the model's own preparation of a step are
the same for all and left out. Two orders, as in vLLM's engine core: *plain* (schedule, execute, update; all that vLLM
does on a CPU) and *overlapped* (a step is scheduled before the output of the one before it is known). Ours is built on
vLLM's asynchronous scheduler, which costs more than its plain one; in the plain order that is shown as well.

    .venv-vllm/bin/python benchmarks/vllm_cost.py --json
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from engines.vllm.rig import ASYNC, HOSTED, SYNC, Rig
from headway.sim.serving.price import LinearPrice

POLICIES: dict[str, dict[str, Any]] = {
    "serving/vllm-v1": {"max_seqs": 0},
    "serving/sarathi": {"max_seqs": 0},
    "serving/slos-serve": {},
    "serving/headway": {"max_seqs": 0},
}
"""Hosted policies, and what each is told; `max_seqs` becomes the number of requests."""

PROMPT_TOKENS = 512
WARM_STEPS = 30
BLOCK_SIZE = 16
PROMISES = {"headway_ttft_s": 5.0, "headway_tpot_s": 0.1}
OWN = {"plain": SYNC, "overlapped": ASYNC}


class Contender(NamedTuple):
    """A scheduler in one of the two orders."""

    name: str
    order: str
    scheduler: str
    headway: dict[str, Any] | None = None


class Bench:
    """One contender, decoding for ever.

    Parameters
    ----------
    contender : Contender
        What is measured.
    num_requests : int
        How many it decodes for.
    num_steps : int
        The most steps it will be measured for.
    """

    def __init__(self, contender: Contender, num_requests: int, num_steps: int) -> None:
        max_tokens = 3 * num_steps + 4 * WARM_STEPS + num_requests
        context = PROMPT_TOKENS + BLOCK_SIZE + max_tokens + 1
        self.num_requests = num_requests
        self.rig = Rig(
            contender.scheduler,
            num_blocks=num_requests * (-(-context // BLOCK_SIZE) + 1),
            block_size=BLOCK_SIZE,
            max_seqs=num_requests,
            max_batched_tokens=8192,
            context_tokens=context,
            overlapped=contender.order == "overlapped",
            headway=contender.headway,
            price=LinearPrice(),
            checks=False,
        )
        self._spent_s = 0.0
        self._watch("schedule")
        self._watch("update_from_output")
        for number in range(num_requests):
            promises = PROMISES if contender.headway is not None else None
            # Not all cross into a new block of memory in the same step, whoever has scheduled their prompts.
            prompt_tokens = PROMPT_TOKENS - BLOCK_SIZE // 2 + 7 * number % BLOCK_SIZE
            self.rig.add(f"cmpl-{number:024x}", prompt_tokens, max_tokens, xargs=promises)
        self._fill()

    def measure(self, num_steps: int) -> list[float]:
        """Return the processor seconds that each of so many steps of all requests took."""
        took_s: list[float] = []
        for _ in range(3 * num_steps):  # a policy may leave somebody out of a step now and then
            before = self.rig.model.num_sampled
            self._spent_s = 0.0
            self.rig.step()
            if self.rig.model.num_sampled - before == self.num_requests:
                took_s.append(self._spent_s)
            if len(took_s) == num_steps:
                return took_s
        raise RuntimeError(f"only {len(took_s)} of {3 * num_steps} steps were of all requests")

    def _fill(self) -> None:
        for _ in range(100 * self.num_requests):
            self.rig.step()
            if all(told.tokens for told in self.rig.told.values()):
                break
        for _ in range(WARM_STEPS):
            self.rig.step()

    def _watch(self, name: str) -> None:
        inner = getattr(self.rig.scheduler, name)

        def timed(*arguments: Any) -> Any:
            start_s = time.thread_time()
            result = inner(*arguments)
            self._spent_s += time.thread_time() - start_s
            return result

        setattr(self.rig.scheduler, name, timed)


def contenders(orders: Sequence[str], policies: Sequence[str], num_requests: int) -> list[Contender]:
    """List what is measured with so many requests."""
    found = []
    for order in orders:
        found.append(Contender("vllm", order, OWN[order]))
        if order == "plain":
            found.append(Contender("vllm, asynchronous", order, ASYNC))
        for policy in policies:
            params = {name: value or num_requests for name, value in POLICIES[policy].items()}
            found.append(Contender(policy, order, HOSTED, {"policy": policy, "policy_params": params}))
    return found


def compare(
    orders: Sequence[str], policies: Sequence[str], sizes: Sequence[int], num_steps: int, rounds: int
) -> dict[str, Any]:
    """Measure all contenders, in turns, and return medians in microseconds."""
    rows = []
    for size in sizes:
        listed = contenders(orders, policies, size)
        benches = {one[:2]: Bench(one, size, num_steps * rounds) for one in listed}
        took_s: dict[tuple[str, str], list[float]] = {key: [] for key in benches}
        gc.collect()
        gc.freeze()  # as vLLM's engine core does with what is there at its start
        for number in range(rounds):
            for key in list(benches)[:: -1 if number % 2 else 1]:
                took_s[key] += benches[key].measure(num_steps)
        rows += [_row(key, size, took_s) for key in benches]
        gc.unfreeze()
    from vllm import __version__

    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    return {"machine": machine, "vllm": __version__, "num_steps": num_steps * rounds, "results": rows}


def _row(key: tuple[str, str], size: int, took_s: dict[tuple[str, str], list[float]]) -> dict[str, Any]:
    name, order = key
    step_us = statistics.median(took_s[key]) * 1e6
    own_us = statistics.median(took_s["vllm", order]) * 1e6
    return {
        "scheduler": name,
        "order": order,
        "running": size,
        "step_us": round(step_us, 1),
        "mean_us": round(statistics.fmean(took_s[key]) * 1e6, 1),
        "p99_us": round(statistics.quantiles(took_s[key], n=100)[98] * 1e6, 1),
        "per_request_us": round(step_us / size, 2),
        "ratio_to_own": round(step_us / own_us, 2),
    }


def main() -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 256], help="requests that run at once")
    parser.add_argument("--steps", type=int, default=100, help="steps per round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; all contenders take turns in each")
    parser.add_argument("--orders", nargs="+", default=list(OWN), choices=list(OWN), help="orders of the engine core")
    parser.add_argument("--policies", nargs="*", default=list(POLICIES), choices=list(POLICIES), help="hosted policies")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if find_spec("vllm") is None:
        print("vllm_cost: skipped, for vLLM is not installed (make vllm).", file=sys.stderr)
        return 0
    found = compare(args.orders, args.policies, args.sizes, args.steps, args.rounds)
    if args.json:
        print(json.dumps(found))
        return 0
    for row in found["results"]:
        print(
            f"{row['order']:<10} {row['running']:>4} running  {row['scheduler']:<18} {row['step_us']:>8.1f} us a step "
            f"(p99 {row['p99_us']:.0f}), {row['per_request_us']:.2f} us a request, {row['ratio_to_own']:.2f} x its own"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
