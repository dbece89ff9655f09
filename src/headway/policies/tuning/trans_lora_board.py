"""What is visible while adapters are moved: worlds and engines keep it, policies read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from headway.core.actions import Action, Reject
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.tuning.trans_lora_draft import TransferDraft
from headway.policies.tuning.trans_lora_nouns import Base, Run, Stage, Transfer
from headway.policies.tuning.trans_lora_state import DeviceState, TransferState


class TransferView(Protocol):
    """What a policy sees."""

    @property
    def now_s(self) -> Seconds:
        """The present."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The devices, with ``memory_bytes``."""

    @property
    def devices(self) -> Mapping[Id, DeviceState]:
        """What every device does, and which bases it holds."""

    @property
    def transfers(self) -> Mapping[Id, TransferState]:
        """Transfers that are here and not done, in the order in which they came."""

    def most(self, device: Id, stage: Stage, base: Id) -> int:
        """The most texts of one run of a stage on a device; 0 where the base does not fit."""

    def draft(self) -> TransferDraft:
        """Open a tentative overlay for one decision."""


class TransferBoard:
    """The visible state of transfers on devices.

    Parameters
    ----------
    devices : sequence of Resource
        What runs are done on; ``capacity["memory_bytes"]`` is how much fits.
    bases : sequence of Base
        All bases that transfers come from or go to.
    most_texts : int
        No run has more texts, however much memory there is, >= 1; 256.
    """

    def __init__(self, devices: Sequence[Resource], bases: Sequence[Base], most_texts: int = 256) -> None:
        self.now_s: Seconds = 0.0
        self.most_texts = most_texts
        self.bases = {base.id: base for base in bases}
        self.ended: dict[Id, TransferState] = {}
        self._devices = {device.id: DeviceState(device.id, device.capacity["memory_bytes"]) for device in devices}
        self._transfers: dict[Id, TransferState] = {}
        self.resources: Mapping[Id, Resource] = MappingProxyType({device.id: device for device in devices})
        self.devices: Mapping[Id, DeviceState] = MappingProxyType(self._devices)
        self.transfers: Mapping[Id, TransferState] = MappingProxyType(self._transfers)

    def most(self, device: Id, stage: Stage, base: Id) -> int:
        """The most texts of one run of a stage on a device; 0 where the base does not fit."""
        facts = self.bases[base]
        free = self._devices[device].memory_bytes - facts.weights_bytes
        if free < 0 or (stage == "train" and free < facts.train_bytes):
            return 0
        return min(self.most_texts, int(free / facts.text_bytes)) if facts.text_bytes else self.most_texts

    def draft(self) -> TransferDraft:
        """Open a tentative overlay for one decision."""
        return TransferDraft(self.transfers, self.devices)

    def add(self, transfer: Transfer) -> None:
        """Let a transfer begin."""
        self._transfers[transfer.id] = TransferState(transfer)

    def apply(self, action: Action) -> str | None:
        """Enter an action; returns why not, having changed nothing, when it cannot be carried out."""
        if isinstance(action, Run):
            why = self._refusal(action)
            if why is None:
                self._begin(action)
            return why
        if isinstance(action, Reject):
            return self._reject(action.id)
        return f"this board does not know {type(action).__name__}"

    def finish(self, device: Id, accepted: Sequence[int] = ()) -> list[Id]:
        """Enter what the run on a device came to; returns the transfers that are done by it."""
        state = self._devices[device]
        run = state.run
        assert run is not None, "a device without a run has nothing to finish"
        state.run = None
        for place, part in enumerate(run.parts):
            kept = accepted[place] if run.stage == "filter" else part.num
            self._transfers[part.transfer].end(run.stage, part.num, kept)
        done = [part.transfer for part in run.parts if self._transfers[part.transfer].is_done]
        for transfer in done:
            self.ended[transfer] = self._transfers.pop(transfer)
        return done

    def fingerprint(self) -> int:
        """A number that changes when anything visible changes."""
        transfers = tuple(state.facts() for state in self._transfers.values())
        devices = tuple((one.id, tuple(one.resident), one.run) for one in self._devices.values())
        return hash((self.now_s, transfers, devices))

    def _reject(self, transfer: Id) -> str | None:
        state = self._transfers.get(transfer)
        if state is None:
            return "there is no such transfer"
        if state.is_under_way:
            return "a run of it is under way"
        self.ended[transfer] = self._transfers.pop(transfer)
        return None

    def _refusal(self, run: Run) -> str | None:
        device = self._devices.get(run.device)
        if device is None or device.run is not None:
            return "there is no such device" if device is None else "the device is busy"
        ids = [part.transfer for part in run.parts]
        if not ids or len(set(ids)) < len(ids) or not set(ids) <= self._transfers.keys():
            return "its parts must be transfers that are here, each once"
        states = [self._transfers[id] for id in ids]
        base = states[0].transfer.base(run.stage)
        if any(state.transfer.base(run.stage) != base for state in states):
            return "its parts must share a base"
        if any(not 1 <= part.num <= state.ready(run.stage) for part, state in zip(run.parts, states, strict=True)):
            return "a transfer has not so much ready"
        most = self.most(run.device, run.stage, base)
        if run.stage == "train":
            return None if most and len(ids) == 1 else "one adapter is trained at a time, where it fits"
        return None if sum(part.num for part in run.parts) <= most else "it does not fit into memory"

    def _begin(self, run: Run) -> None:
        device, base = self._devices[run.device], self._transfers[run.parts[0].transfer].transfer.base(run.stage)
        for part in run.parts:
            self._transfers[part.transfer].begin(run.stage, part.num)
        num = 0 if run.stage == "train" else sum(part.num for part in run.parts)
        facts = self.bases[base]
        device.make_room(facts, self.bases, facts.train_bytes if run.stage == "train" else num * facts.text_bytes)
        device.run = run
