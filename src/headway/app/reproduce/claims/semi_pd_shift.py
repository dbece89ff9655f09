"""A workload that shifts from long prompts to long outputs, and how it is served by shares that stay or move."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.core.events import Event
from headway.core.nouns import Seconds, Slo
from headway.core.session import Session
from headway.core.slo import SloClass
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestFinished
from headway.policies.serving.semi_pd import SemiPd
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.cost.replica import Replica, replica
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ServingWorld
from headway.traces.generate.lengths import LogNormal

PROMPTS = LogNormal(prompt_median=1500, prompt_sigma=0.3, output_median=60, output_sigma=0.3)
OUTPUTS = LogNormal(prompt_median=100, prompt_sigma=0.3, output_median=400, output_sigma=0.3)
PHASES = ((PROMPTS, 4.5), (OUTPUTS, 14.0))
"""Lengths and requests per second, one after the other."""
PHASE_S: Seconds = 100.0
TTFT_S: Seconds = 0.6
TPOT_S: Seconds = 0.035
SEATS: dict[str, dict[str, Any]] = {
    "semi-pd": {},
    "prompts-first": {"window": 0, "prefill_share": 1.0, "decode_share": 0.3},
    "semi-pd-100-100": {"window": 0},
}


class _Attained:
    """Counts who was within both bounds, by the phase in which they came."""

    hears = (RequestFinished,)

    def __init__(self, num: int) -> None:
        self.num_good = [0] * num

    def on_event(self, event: Event) -> None:
        """Hear of a request's end."""
        assert isinstance(event, RequestFinished)
        phase = int(event.id.partition("/")[0])
        self.num_good[phase] += event.ttft_s <= TTFT_S and event.tpot_s <= TPOT_S


@functools.cache
def machine() -> Replica:
    """Return what it is played on."""
    return replica("llama-3-8b", "a100-80gb-sxm")


def requests(seed: int, phase_s: Seconds) -> list[list[TrueRequest]]:
    """Draw the requests of each phase."""
    rng, found = np.random.default_rng([seed, 5]), list[list[TrueRequest]]()
    for number, (lengths, rate_per_s) in enumerate(PHASES):
        at_s = number * phase_s + np.sort(rng.uniform(0, phase_s, int(rate_per_s * phase_s)))
        prompts, outputs = lengths.draw(len(at_s), rng)
        found.append(
            [
                TrueRequest(
                    request=Request(
                        id=f"{number}/{nth}", arrival_s=float(at), prompt_tokens=int(prompt), max_tokens=4096
                    ),
                    output_tokens=int(output),
                )
                for nth, (at, prompt, output) in enumerate(zip(at_s, prompts, outputs, strict=True))
            ]
        )  # fmt: skip
    return found


def shift(seed: int, quick: bool) -> Numbers:
    """Measure the share of requests within both bounds, before and after the shift, and the smaller of the two."""
    return {who: _played(seed, 80.0 if quick else PHASE_S, who) for who in SEATS}


def _played(seed: int, phase_s: Seconds, who: str) -> dict[str, float]:
    phases, host = requests(seed, phase_s), machine()
    promise = SloClass(name="default", slos=(Slo("ttft_s", TTFT_S), Slo("tpot_s", TPOT_S)))
    instance = InstanceState("gpu", BlockPool(host.num_kv_tokens // 16), host.num_layers)
    every = [one for phase in phases for one in phase]
    world = ServingWorld(every, [instance], host.price, promises=[promise])
    policy = Stack(batch=SemiPd(chunk_tokens=8192, **SEATS[who]))
    attained = _Attained(len(phases))
    simulate(world, policy, session=Session(policy, world.view, seed=seed, instruments=[attained]))
    fracs = [good / len(phase) for good, phase in zip(attained.num_good, phases, strict=True)]
    return {"before_frac": fracs[0], "after_frac": fracs[1], "worst_frac": min(fracs)}
