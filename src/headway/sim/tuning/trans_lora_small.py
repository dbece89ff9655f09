"""Transfers drawn at random, and a world of them small enough for contract checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from headway.core.nouns import Id, Resource
from headway.core.slo import WorkAccounts
from headway.policies.tuning.trans_lora_nouns import Base, Transfer
from headway.sim.tuning.trans_lora import TransferWorld, TrueTransfer
from headway.sim.tuning.trans_lora_prices import Accelerator, base_of, roofline

BASES: Mapping[Id, tuple[float, float]] = {"llama-2-7b": (6.7e9, 524_288), "llama-2-13b": (13.0e9, 819_200)}
"""Parameters, and bytes of keys and values per token."""


class RandomTransfers(Struct, frozen=True, kw_only=True):
    """Transfers from one base to another.

    Parameters
    ----------
    num : int
        How many, >= 1; 24.
    per_s : float
        How many arrive per second, in the mean, > 0; 0 lets all be there at once.
    wanted, num_epochs : int
        Of each, >= 1; 250 and 20, the paper's.
    least_frac, most_frac : float
        Chances that a text is kept are drawn between them, in (0, 1]; 0.1 and 0.6. The paper does not say.
    """

    num: int = 24
    per_s: float = 0.0
    wanted: int = 250
    num_epochs: int = 20
    least_frac: float = 0.1
    most_frac: float = 0.6

    def draw(self, seed: int) -> list[TrueTransfer]:
        """Draw them."""
        rng, now_s, out = np.random.default_rng([3, seed]), 0.0, []
        for nth in range(self.num):
            now_s += float(rng.exponential(1 / self.per_s)) if self.per_s else 0.0
            one = Transfer(
                id=f"adapter-{nth}",
                arrival_s=now_s,
                source="llama-2-7b",
                target="llama-2-13b",
                wanted=self.wanted,
                num_epochs=self.num_epochs,
            )
            accept_frac = float(rng.uniform(self.least_frac, self.most_frac))
            out.append(TrueTransfer(transfer=one, accept_frac=accept_frac, seed=seed * 1000 + nth))
        return out


def bases() -> list[Base]:
    """The memory of the two bases."""
    return [base_of(id, num_params, kv_bytes) for id, (num_params, kv_bytes) in BASES.items()]


def world_of(transfers: Sequence[TrueTransfer], num_devices: int = 4, on: Accelerator | None = None) -> TransferWorld:
    """Make a world of devices of one kind, at roofline prices."""
    on = on or Accelerator()
    devices = [
        Resource(id=f"gpu-{nth}", kind="gpu", capacity={"memory_bytes": on.memory_bytes}) for nth in range(num_devices)
    ]
    return TransferWorld(transfers, devices, bases(), roofline({id: facts[0] for id, facts in BASES.items()}, on))


def small_world(seed: int, lie: float = 1.0) -> tuple[TransferWorld, WorkAccounts]:
    """Make a world small enough for contract checks; in one of its transfers hardly anything is kept.

    Parameters
    ----------
    seed : int
        Of the transfers.
    lie : float
        Chances to be kept are so many times those of the seed, in (0, 1]; nothing visible tells.
    """
    few = RandomTransfers(num=6, per_s=0.2, wanted=40, num_epochs=3).draw(seed)
    transfers = [
        TrueTransfer(transfer=true.transfer, accept_frac=0.002 if not nth else true.accept_frac * lie, seed=true.seed)
        for nth, true in enumerate(few)
    ]
    return world_of(transfers, num_devices=2), WorkAccounts()


def lying_world(seed: int) -> TransferWorld:
    """Make the small world of a seed in which fewer texts are kept; it looks the same until the first are judged."""
    return small_world(seed, lie=0.3)[0]
