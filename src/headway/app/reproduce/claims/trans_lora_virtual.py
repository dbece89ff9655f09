"""Many transfers on a few devices in virtual time, for the claims of Trans-LoRA."""

from __future__ import annotations

from collections.abc import Callable

from headway.app.reproduce.claim import Numbers
from headway.core.drivers import simulate
from headway.policies.tuning.trans_lora import TransLora
from headway.policies.tuning.trans_lora_baselines import OneTransfer, StageByStage
from headway.sim.tuning.trans_lora_small import RandomTransfers, world_of

POLICIES: dict[str, Callable[[], TransLora]] = {
    "trans-lora": TransLora,
    "as-missing": lambda: TransLora(foresee=False),
    "stage-by-stage": StageByStage,
    "one-transfer": OneTransfer,
}


def stages(seed: int, quick: bool) -> Numbers:
    """24 transfers on four devices (8 on two where it is to be quick)."""
    found = {}
    for name, policy in POLICIES.items():
        world = world_of(RandomTransfers(num=8 if quick else 24).draw(seed), num_devices=2 if quick else 4)
        simulate(world, policy(), seed=seed)
        numbers = world.numbers()
        train_s = world.spent_s["train"] / len(world.view.devices)
        found[name] = {**numbers, "beyond_training_s": numbers["makespan_s"] - train_s}
    return found
