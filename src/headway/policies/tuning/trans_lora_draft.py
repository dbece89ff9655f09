"""Several runs of one decision account for each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from headway.core.actions import Action
from headway.core.nouns import Id
from headway.policies.tuning.trans_lora_nouns import Part, Run, Stage
from headway.policies.tuning.trans_lora_state import DeviceState, TransferState


class TransferDraft:
    """A tentative overlay: what is left of transfers and devices after the actions drafted so far.

    Parameters
    ----------
    transfers, devices : mapping of str to state
        What is there.
    """

    def __init__(self, transfers: Mapping[Id, TransferState], devices: Mapping[Id, DeviceState]) -> None:
        self.transfers = transfers
        self.actions: list[Action] = []
        self._devices = devices
        self._taken: Counter[tuple[Id, Stage]] = Counter()
        self._used: set[Id] = set()

    @property
    def idle(self) -> list[DeviceState]:
        """Devices that do nothing yet."""
        return [one for one in self._devices.values() if one.run is None and one.id not in self._used]

    def taken(self, transfer: Id, stage: Stage) -> int:
        """How many texts (or epochs) of a transfer were drafted for a stage."""
        return self._taken[transfer, stage]

    def ready(self, transfer: Id, stage: Stage) -> int:
        """How many texts (or epochs) a run of a stage could still take."""
        if self._taken[transfer, "train"] or (stage == "train" and any(id == transfer for id, _ in self._taken)):
            return 0
        return self.transfers[transfer].ready(stage) - self._taken[transfer, stage]

    def run(self, device: Id, stage: Stage, parts: tuple[Part, ...]) -> None:
        """Draft a run."""
        self._used.add(device)
        for part in parts:
            self._taken[part.transfer, stage] += part.num
        self.actions.append(Run(device, stage, parts))
