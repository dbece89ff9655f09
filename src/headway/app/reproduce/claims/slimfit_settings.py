"""The settings of SlimFit's evaluation, and what they take in virtual time.

Batches, lengths, rates and image sizes are those of the code that the authors released. Memory is counted from the
shapes of the models, as `headway.sim.tuning.slimfit_shapes` says; tests hold that account against live models.
"""

from __future__ import annotations

import math

from msgspec import Struct

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.core.nouns import Resource
from headway.policies.tuning.slimfit import SlimFit
from headway.policies.tuning.slimfit_board import BYTES
from headway.sim.tuning.slimfit import HiddenRun, Settling, SlimFitWorld
from headway.sim.tuning.slimfit_shapes import Encoder, plain_bytes, slim_job

V100_BYTES = 32e9
V100_FLOPS_PER_S = 15.7e12
NUM_ITERATIONS = 40
"""Enough for each unit to be trained, and for the largest ones to meet."""


class Setting(Struct, frozen=True):
    """A benchmark: a shape, and the share of units that is frozen there."""

    encoder: Encoder
    freeze_frac: float


def bert(batch: int, sequence: int, vocabulary: int = 28_996) -> Encoder:
    """Return BERT-base, cased unless the vocabulary says otherwise."""
    return Encoder(batch=batch, sequence=sequence, vocabulary=vocabulary, num_positions=512, dropout=True)


def vit(batch: int, pixels: int, num_classes: int) -> Encoder:
    """Return ViT-base with patches of 16 × 16."""
    return Encoder(batch=batch, sequence=(pixels // 16) ** 2 + 1, num_classes=num_classes)


GLUE = {
    "cola": 0.9, "mnli": 0.8, "mrpc": 0.9, "qnli": 0.95, "qqp": 0.8, "rte": 0.9, "sst2": 0.95, "stsb": 0.85,
}  # fmt: skip
SETTINGS = {
    **{name: Setting(bert(32, 128), frac) for name, frac in GLUE.items()},
    "squad": Setting(bert(128, 384, vocabulary=30_522), 0.8),
    "cifar10": Setting(vit(32, 224, 10), 0.9),
    "cifar100": Setting(vit(32, 224, 100), 0.75),
    "imagenet": Setting(vit(128, 384, 1000), 0.95),
}
"""All benchmarks of the evaluation."""


def slim_peak_bytes(setting: Setting, seed: int) -> int:
    """Return the most memory that an iteration took in virtual time."""
    job = slim_job(setting.encoder, "job", NUM_ITERATIONS, freeze_frac=setting.freeze_frac)
    gpu = Resource(
        id="gpu", kind="device", capacity={BYTES: V100_BYTES}, traits={"flops_per_s": V100_FLOPS_PER_S}
    )  # fmt: skip
    dynamics = Settling(len(job.units), NUM_ITERATIONS, seed=seed)
    world = SlimFitWorld([HiddenRun(job=job, dynamics=dynamics)], [gpu])
    report = simulate(world, SlimFit(), seed=seed)
    assert not report.num_refused, report.refused
    return world.peak_bytes["job"]


def memory(seed: int, quick: bool) -> Numbers:
    """Measure how many times the memory of SlimFit full fine-tuning takes, over all benchmarks."""
    del quick  # it takes a second
    found: dict[str, dict[str, float]] = {"slimfit": {}, "slimfit-over-fused": {}}
    slim = {name: slim_peak_bytes(setting, seed) for name, setting in SETTINGS.items()}
    for who, fused in (("slimfit", False), ("slimfit-over-fused", True)):
        full = {name: plain_bytes(one.encoder, fused_attention=fused) for name, one in SETTINGS.items()}
        times = {name: full[name] / slim[name] for name in SETTINGS}
        found[who] = {
            "mean_saving": sum(times.values()) / len(times),
            "most_saving": max(times.values()),
            "least_saving": min(times.values()),
            "glue_saving": sum([times[name] for name in GLUE]) / len(GLUE),
        }
    found["full"] = {"mean_saving": 1.0, "most_saving": 1.0}
    return found


def devices(seed: int, quick: bool) -> Numbers:
    """Measure how many GPUs of 32 GB the two largest benchmarks take."""
    del quick  # it takes a second
    found: dict[str, dict[str, float]] = {"full": {}, "slimfit": {}}
    for name in ("imagenet", "squad"):
        full, slim = plain_bytes(SETTINGS[name].encoder), slim_peak_bytes(SETTINGS[name], seed)
        found["full"] |= {f"{name}_bytes": full, f"num_gpus_{name}": math.ceil(full / V100_BYTES)}
        found["slimfit"] |= {f"{name}_bytes": slim, f"num_gpus_{name}": math.ceil(slim / V100_BYTES)}
    return found
