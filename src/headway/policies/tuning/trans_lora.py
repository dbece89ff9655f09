"""Trans-LoRA: adapters move to other bases on synthetic texts that a discriminator lets through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from headway.core.actions import Action, Reject
from headway.core.errors import ConfigError
from headway.core.events import Event
from headway.core.nouns import Id
from headway.policies.tuning.trans_lora_board import TransferView
from headway.policies.tuning.trans_lora_draft import TransferDraft
from headway.policies.tuning.trans_lora_draws import draws_for, expected_frac
from headway.policies.tuning.trans_lora_nouns import STAGES, Part, Stage
from headway.policies.tuning.trans_lora_state import DeviceState, TransferState

Choice = tuple[tuple[float, ...], Stage, tuple[Part, ...]]
"""Something that a device could do: how much it is preferred, the stage and its parts."""


class TransLora:
    """Schedules the four stages of many transfers: generate, filter, label, train.

    Each transfer generates texts with the new base until enough of them pass the discriminator, lets the old adapter
    answer them, and trains the new adapter on the answers. A run does one stage for all transfers that share its base.
    A device stays with the base that it holds as long as there is work for it. How many texts to generate follows from
    the share that was kept so far; a pilot comes first, and after too many tries a transfer goes on with what there is
    or is given up.

    Parameters
    ----------
    pilot : int
        Texts of a transfer that are judged before the share that is kept is believed, >= 1; 64. Ours.
    max_tries : int
        Texts that are generated at most per text that is wanted, >= 1; 40. The paper has no cap.
    least_frac : float
        With this share of the wanted texts a transfer that is out of tries goes on, in (0, 1]; 0.2. Ours. With fewer it
        is rejected.
    foresee : bool
        Whether the share that was kept so far decides how many are generated. Otherwise just as many as are missing.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Wang, Ghosh, Cox, Antognini, Oliva, Feris, Karlinsky, "Trans-LoRA: towards data-free Transferable
    Parameter Efficient Finetuning", 2024, arXiv 2405.17258; authors and title from memory, method and numbers from its
    specification. The loop is its algorithm: generate with the new base from five seeds, keep what the discriminator
    takes for real, until there are as many as wanted; answers by the old adapter; training.

    Faithful to the paper: the stages, their order, which base each computes with, and that only texts that were kept
    are answered and trained on. Ours, for the paper moves one adapter at a time: that transfers share runs and devices,
    the forecast of how many to generate, the cap. Texts are generated in batches, so that a few more may be kept than
    are wanted; these are left out. What generates, judges, answers and trains is `headway.engines.tuning.trans_lora`.

    Cost: O(transfers) per idle device and decision.

    Examples
    --------
    >>> from headway.core.events import Arrived
    >>> from headway.core.nouns import Resource
    >>> from headway.policies.tuning.trans_lora_board import TransferBoard
    >>> from headway.policies.tuning.trans_lora_nouns import Base, Transfer
    >>> gpu = Resource(id="gpu", kind="gpu", capacity={"memory_bytes": 80e9})
    >>> board = TransferBoard([gpu], [Base(id="old"), Base(id="new")])
    >>> moved = Transfer(id="math", arrival_s=0.0, source="old", target="new")
    >>> board.add(moved)
    >>> TransLora(pilot=16).decide(Arrived(at_s=0.0, work=moved), board)
    [Run(device='gpu', stage='generate', parts=(Part(transfer='math', num=16),))]
    """

    def __init__(
        self,
        *,
        pilot: int = 64,
        max_tries: int = 40,
        least_frac: float = 0.2,
        foresee: bool = True,
    ) -> None:
        legal = {
            "pilot must be >= 1": pilot >= 1,
            "max_tries must be >= 1": max_tries >= 1,
            "least_frac must be in (0, 1]": 0 < least_frac <= 1,
        }
        self.pilot = pilot
        self.max_tries = max_tries
        self.least_frac = least_frac
        self.foresee = foresee
        for rule, holds in legal.items():
            if not holds:
                raise ConfigError(f"tuning/trans-lora: {rule}, got {getattr(self, rule.split()[0])}. Try the default.")

    def reset(self, rng: np.random.Generator) -> None:
        """There is nothing to forget: all that counts is seen."""

    def decide(self, event: Event, view: TransferView) -> list[Action]:
        """Give every idle device a run, and reject what is hopeless."""
        draft = view.draft()
        draft.actions += [Reject(state.transfer.id, self.why(state)) for state in self._hopeless(view)]
        for device in draft.idle:
            found = max(self._runs(device, draft, view), key=lambda one: one[0], default=None)
            if found is not None:
                draft.run(device.id, *found[1:])
        return draft.actions

    # One transfer ----------------------------------------------------------------------------------------------------

    def to_draw(self, state: TransferState) -> int:
        """How many more texts are to be generated now, beside those under way."""
        if state.is_training:
            return 0
        coming = state.drawn + state.busy["generate"] - state.judged
        missing = state.transfer.wanted - state.accepted
        if not self.foresee:
            num = missing - coming
        elif not state.judged:
            num = min(self.pilot, missing) - coming
        else:
            num = draws_for(missing, expected_frac(state.accepted, state.judged)) - coming
        cap = self.max_tries * state.transfer.wanted - state.drawn - state.busy["generate"]
        return max(0, min(num, cap))

    def is_out_of_tries(self, state: TransferState) -> bool:
        """Whether all that may be generated was, and was judged."""
        return state.judged >= self.max_tries * state.transfer.wanted and state.accepted < state.transfer.wanted

    def can_train(self, state: TransferState) -> bool:
        """Whether all texts that it will get have answers."""
        is_enough = state.accepted >= state.transfer.wanted or self.is_out_of_tries(state)
        return state.is_training or (is_enough and state.labelled == state.usable)

    def why(self, state: TransferState) -> str:
        """Say why a transfer is given up."""
        return (
            f"the discriminator kept {state.accepted} of {state.judged} texts and {state.transfer.wanted} are wanted; "
            "give more seeds, or another generator"
        )

    def _hopeless(self, view: TransferView) -> Iterator[TransferState]:
        for state in view.transfers.values():
            too_few = state.accepted < self.least_frac * state.transfer.wanted
            if self.is_out_of_tries(state) and too_few and not state.is_under_way:
                yield state

    # One device ------------------------------------------------------------------------------------------------------

    def _runs(self, device: DeviceState, draft: TransferDraft, view: TransferView) -> Iterable[Choice]:
        """Yield what a device could do, each with how much it is preferred."""
        for place, stage in enumerate(STAGES):
            for base, states in self._by_base(draft, stage).items():
                most = view.most(device.id, stage, base)
                parts = self._parts(stage, states, draft, most) if most else ()
                if parts:
                    fill = 1.0 if stage == "train" else sum(part.num for part in parts) / most
                    yield (stage == "train", base in device.resident, round(fill, 3), place), stage, parts

    def _by_base(self, draft: TransferDraft, stage: Stage) -> dict[Id, list[TransferState]]:
        rejected = {action.id for action in draft.actions if isinstance(action, Reject)}
        found: dict[Id, list[TransferState]] = defaultdict(list)
        for state in draft.transfers.values():
            if state.transfer.id not in rejected:
                found[state.transfer.base(stage)].append(state)
        return found

    def _parts(
        self, stage: Stage, states: Iterable[TransferState], draft: TransferDraft, most: int
    ) -> tuple[Part, ...]:
        """Return what a run of a stage would take, first come first served."""
        parts: list[Part] = []
        for state in states:
            id, left = state.transfer.id, most - sum(part.num for part in parts)
            num = self._wanted(stage, state, draft)
            if stage == "train" and num:
                return (Part(id, num),)
            if num and left:
                parts.append(Part(id, min(num, left)))
        return tuple(parts)

    def _wanted(self, stage: Stage, state: TransferState, draft: TransferDraft) -> int:
        ready = draft.ready(state.transfer.id, stage)
        if stage == "generate":
            return max(0, min(ready, self.to_draw(state) - draft.taken(state.transfer.id, stage)))
        if stage == "filter" and state.accepted >= state.transfer.wanted:
            return 0
        return ready if stage != "train" or self.can_train(state) else 0
