"""How far a transfer has come, and what a device holds and does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headway.core.nouns import Id
from headway.policies.tuning.trans_lora_nouns import STAGES, Base, Run, Stage, Transfer

NO_END = 1 << 40
"""How many texts can be generated: as many as anybody likes."""


class TransferState:
    """How far a transfer has come.

    Attributes
    ----------
    drawn, judged, accepted, labelled : int
        Texts generated so far, those of them that the discriminator has seen, that it kept, that have an answer.
    epochs : int
        Epochs trained so far.
    busy : dict of str to int
        Texts (or epochs) that are in runs under way, by stage.
    """

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self.drawn = self.judged = self.accepted = self.labelled = self.epochs = 0
        self.busy: dict[Stage, int] = dict.fromkeys(STAGES, 0)

    @property
    def is_under_way(self) -> bool:
        """Whether a run has a part of it."""
        return any(self.busy.values())

    @property
    def is_training(self) -> bool:
        """Whether its training has begun; from then on nothing is generated, judged or labelled for it."""
        return bool(self.epochs or self.busy["train"])

    @property
    def is_done(self) -> bool:
        """Whether it is trained to the end."""
        return self.epochs >= self.transfer.num_epochs

    @property
    def usable(self) -> int:
        """Texts that were kept and are wanted."""
        return min(self.accepted, self.transfer.wanted)

    def ready(self, stage: Stage) -> int:
        """How many texts (or epochs) a run of a stage could take now."""
        if stage == "train":
            is_open = self.labelled and not any(self.busy.values())
            return self.transfer.num_epochs - self.epochs if is_open else 0
        if self.is_training:
            return 0
        if stage == "generate":
            return NO_END
        if stage == "filter":
            return self.drawn - self.judged - self.busy["filter"]
        return self.usable - self.labelled - self.busy["label"]

    def begin(self, stage: Stage, num: int) -> None:
        """Enter a run that begins."""
        self.busy[stage] += num

    def end(self, stage: Stage, num: int, kept: int) -> None:
        """Enter a run that is over, after which `kept` of its `num` texts go on."""
        self.busy[stage] -= num
        if stage == "generate":
            self.drawn += kept
        elif stage == "filter":
            self.judged += num
            self.accepted += kept
        elif stage == "label":
            self.labelled += kept
        else:
            self.epochs += kept

    def facts(self) -> tuple[object, ...]:
        """All of it, to compare."""
        numbers = (self.drawn, self.judged, self.accepted, self.labelled, self.epochs)
        return (self.transfer.id, numbers, tuple(self.busy.values()))


@dataclass
class DeviceState:
    """What a device holds and does.

    Parameters
    ----------
    id : str
        Its name.
    memory_bytes : float
        Its memory.
    """

    id: Id
    memory_bytes: float

    def __post_init__(self) -> None:
        self.resident: list[Id] = []  # bases, the one used longest ago first
        self.run: Run | None = None
        self.load_bytes = 0.0  # of weights that the run under way had to bring first

    def make_room(self, base: Base, bases: Mapping[Id, Base], work_bytes: float) -> None:
        """Hold a base and so much beside it; bases used longest ago go first."""
        self.load_bytes = 0.0 if base.id in self.resident else base.weights_bytes
        others = [one for one in self.resident if one != base.id]
        while others and sum(bases[one].weights_bytes for one in [*others, base.id]) + work_bytes > self.memory_bytes:
            others.pop(0)
        self.resident = [*others, base.id]
