"""LSP-Offload in virtual time: Llama-7B on one accelerator of 24 GB, at the times and rates that the publication names.

Per layer 12.2 ms forward, 28.1 ms backward and 0.06 s of Adam on the host; 14 GB of weights, links of 10 to 20 GB/s.
The memory of the accelerator is that of an RTX 4090, 1008 GB/s. That every non-zero of a projector reads its row from
there, with no help of caches, is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.core.nouns import Resource
from headway.core.policy import Policy
from headway.policies.tuning.lsp_offload import LspOffload
from headway.policies.tuning.lsp_offload_nouns import SLOT, Layer, OffloadJob, OffloadView
from headway.policies.tuning.lsp_offload_order import PlainOffload
from headway.sim.tuning.lsp_offload import OffloadWorld, in_memory_s
from headway.sim.tuning.lsp_offload_truth import OffloadTruth

HIDDEN, WIDE = 4096, 11008
LAYER = Layer(
    matrices=((HIDDEN, HIDDEN),) * 4 + ((WIDE, HIDDEN),) * 2 + ((HIDDEN, WIDE),),
    num_small=2 * HIDDEN,
    forward_s=0.0122,
    backward_s=0.0281,
)
PARAMS_PER_S = LAYER.num_params / 0.06
MEMORY_BYTES_PER_S = 1.008e12
CHECK_STEPS = 1000

POLICIES: Mapping[str, Callable[[], Policy[OffloadView]]] = {
    "zero": PlainOffload,
    "zero-layers": lambda: PlainOffload(order="layers"),
    "zero-arrival": lambda: PlainOffload(order="arrival"),
    "lsp-phases": lambda: PlainOffload(width=2048, nonzeros=8),
    "lsp": lambda: LspOffload(width=2048, nonzeros=8, check_steps=CHECK_STEPS),
    "lsp-4": lambda: LspOffload(width=2048, nonzeros=4, check_steps=CHECK_STEPS),
    "lsp-chosen": lambda: LspOffload(check_steps=CHECK_STEPS),
}


def lanes(link_gb_per_s: float, host: float) -> list[Resource]:
    """Return the lanes: links of so many GB/s each way, and a host so many times as fast as the publication's."""
    traits = {
        "gpu": {"memory_bytes_per_s": MEMORY_BYTES_PER_S},
        "down": {"bytes_per_s": link_gb_per_s * 1e9},
        "cpu": {"params_per_s": host * PARAMS_PER_S},
        "up": {"bytes_per_s": link_gb_per_s * 1e9},
    }
    return [Resource(id=lane, kind=lane, capacity=SLOT, traits=found) for lane, found in traits.items()]


def play(who: str, seed: int, quick: bool, link_gb_per_s: float = 15.0, host: float = 1.0) -> dict[str, float]:
    """Play some steps of a contestant.

    Returns
    -------
    dict of str to float
        `step_s` (median, after the first step), `slowdown` over the passes alone, `sent_bytes` per step and link, and
        `learning_frac`: what checks and learning add when they come every 1000 steps.
    """
    job = OffloadJob(id="j", arrival_s=0.0, layers=(LAYER,) * 32, num_steps=6 if quick else 20)
    world = OffloadWorld([job], lanes(link_gb_per_s, host), OffloadTruth(seed=seed))
    simulate(world, POLICIES[who](), seed=seed)
    step_s = median(world.log.step_s("j")[1:])
    return {
        "slowdown": step_s / in_memory_s(job),
        "step_s": step_s,
        "sent_bytes": world.log.num_bytes["down"] / job.num_steps,
        "learning_frac": world.log.learning_s() / CHECK_STEPS / step_s,
    }


def table(who: tuple[str, ...], seed: int, quick: bool) -> Numbers:
    """Play contestants at 15 GB/s."""
    return {name: play(name, seed, quick) for name in who}


def span(who: tuple[str, ...], seed: int, quick: bool) -> Numbers:
    """Return the least and the most slowdown over links of 10 to 20 GB/s and hosts one to four times as fast."""
    found = {}
    for name in who:
        grid = [(link, host) for link in (10.0, 20.0) for host in (1.0, 2.0, 4.0)]
        over = [play(name, seed, quick, link, host)["slowdown"] for link, host in grid]
        found[name] = {"least_slowdown": min(over), "most_slowdown": max(over)}
    return found
