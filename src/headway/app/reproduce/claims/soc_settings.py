"""Streams of jobs on chips, for what is claimed of those who schedule their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.core.nouns import Seconds
from headway.policies.shop.deepsocs import DeepSocs
from headway.policies.shop.heft import Heft
from headway.policies.shop.soc_nouns import Application
from headway.sim.shop.soc_applications import Chip, radio_applications, radio_chip, top, top_chip
from headway.sim.shop.soc_world import SocWorld, stream

SCALES_S = (25, 35, 50)
NOISES = (0, 20, 50)
"""In percent."""
OURS, HEFT, HELD = "deepsocs", "heft", "etf-held"
LISTS = ("etf", "eft", "met", "stf", "random")
NUM_JOBS = 150
SEED = 50_000
"""Streams of evaluation are those from here on; training draws its own at random, and is validated on others."""


def policies() -> dict[str, Any]:
    """Make all contestants."""
    rules = {rule: Heft(rule=rule) for rule in (HEFT, *LISTS)}  # type: ignore[arg-type]
    return {OURS: DeepSocs(max_tasks=10), **rules, HELD: Heft(rule="etf", hold=True)}


def by_scale(seed: int, quick: bool) -> Numbers:
    """Play streams of the tabled job, from dense to less dense, without noise."""
    chip, apps = top_chip(), (top(),)
    return {
        name: {f"scale_{scale}_mean_e2e_s": mean_s(chip, apps, policy, seed, scale, 0.0, quick) for scale in SCALES_S}
        for name, policy in policies().items()
    }


def by_noise(seed: int, quick: bool) -> Numbers:
    """Play streams of the tabled job whose tasks take longer or shorter than expected; the mean over gaps."""
    chip, apps = top_chip(), (top(),)
    return {name: dict(_noisy(chip, apps, policy, seed, quick)) for name, policy in policies().items()}


def radio(seed: int, quick: bool) -> Numbers:
    """Play streams of four applications on a chip with special elements, with 20% of noise."""
    chip = radio_chip()
    contestants = {**policies(), OURS: DeepSocs()}
    return {
        name: {"mean_e2e_s": mean_s(chip, radio_applications(chip), policy, seed, 100, 0.2, quick)}
        for name, policy in contestants.items()
    }


def mean_s(
    chip: Chip, apps: tuple[Application, ...], policy: Any, seed: int, scale_s: float, noise: float, quick: bool
) -> Seconds:
    """Return the mean time from arrival to end of the jobs of one stream."""
    jobs = stream(apps, SEED + seed, num_jobs=NUM_JOBS // 3 if quick else NUM_JOBS, scale_s=scale_s, noise=noise)
    world = SocWorld(jobs, chip)
    simulate(world, policy, seed=seed)
    return float(np.mean(list(world.took_s.values())))


def _noisy(chip: Chip, apps: tuple[Application, ...], policy: Any, seed: int, quick: bool) -> Mapping[str, float]:
    found = {}
    for noise in NOISES:
        times = [mean_s(chip, apps, policy, seed, scale, noise / 100, quick) for scale in (SCALES_S[0], SCALES_S[-1])]
        found[f"noise_{noise}_mean_e2e_s"] = float(np.mean(times))
    return found
