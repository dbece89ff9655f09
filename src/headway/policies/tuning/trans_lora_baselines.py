"""Whom Trans-LoRA's scheduling of many transfers is compared with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.nouns import Id
from headway.policies.tuning.trans_lora import Choice, TransLora
from headway.policies.tuning.trans_lora_board import TransferView
from headway.policies.tuning.trans_lora_draft import TransferDraft
from headway.policies.tuning.trans_lora_nouns import STAGES, Part, Stage
from headway.policies.tuning.trans_lora_state import DeviceState, TransferState


class OneTransfer(TransLora):
    """Every device takes one transfer, first come first served, and does its stages alone until it is done.

    It is the loop as it is written, in batches: generate as many texts as are missing, filter them, again until there
    are enough; then label all, then train.
    """

    def __init__(self, *, max_tries: int = 40, least_frac: float = 0.2) -> None:
        super().__init__(max_tries=max_tries, least_frac=least_frac, foresee=False)
        self._owned: dict[Id, Id] = {}

    def reset(self, rng: np.random.Generator) -> None:
        """Forget which device has which transfer."""
        self._owned = {}

    def decide(self, event: Event, view: TransferView) -> list[Action]:
        """Go on with the transfer of every idle device, or give it the next."""
        self._owned = {device: id for device, id in self._owned.items() if id in view.transfers}
        return super().decide(event, view)

    def _runs(self, device: DeviceState, draft: TransferDraft, view: TransferView) -> Iterable[Choice]:
        free = (id for id in draft.transfers if id not in self._owned.values())
        id = self._owned.get(device.id) or next(free, None)
        if id is None:
            return []
        self._owned[device.id] = id
        state = draft.transfers[id]
        for stage in STAGES:
            if stage == "label" and state.accepted < state.transfer.wanted and not self.is_out_of_tries(state):
                continue
            most = view.most(device.id, stage, state.transfer.base(stage))
            num = self._wanted(stage, state, draft) if most else 0
            if num:
                return [((1.0,), stage, (Part(id, num if stage == "train" else min(num, most)),))]
        return []


class StageByStage(TransLora):
    """All devices do the same stage for all transfers, and the next one when nothing is left of it.

    Runs are shared as in `TransLora`; how many texts to generate is not foreseen.
    """

    def __init__(self, *, max_tries: int = 40, least_frac: float = 0.2) -> None:
        super().__init__(max_tries=max_tries, least_frac=least_frac, foresee=False)

    def _runs(self, device: DeviceState, draft: TransferDraft, view: TransferView) -> Iterable[Choice]:
        runs = list(super()._runs(device, draft, view))
        left = {stage for stage in STAGES for state in draft.transfers.values() if self._is_left(stage, state)}
        now = next((stage for stage in STAGES if stage in left), None)
        return [one for one in runs if one[1] == now]

    def _is_left(self, stage: Stage, state: TransferState) -> bool:
        if state.busy[stage]:
            return True
        if stage == "generate":
            return self.to_draw(state) > 0
        return state.ready(stage) > 0 and (stage != "train" or self.can_train(state))
