"""The nouns of moving adapters to other bases: transfers, the runs of their stages, and what runs tell."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headway.core.actions import Action
from headway.core.events import Event, Finished
from headway.core.nouns import Id, Seconds, Work

Stage = Literal["generate", "filter", "label", "train"]
STAGES: tuple[Stage, ...] = ("generate", "filter", "label", "train")
"""In the order in which an example goes through them."""


class Transfer(Work, frozen=True, kw_only=True):
    """One adapter to be moved to another base.

    Parameters
    ----------
    source : str
        The base that the adapter belongs to.
    target : str
        The base that it is moved to.
    judge : str
        The base that the discriminator belongs to; empty where it is `source`. An adapter that is moved again keeps its
        first discriminator.
    wanted : int
        Examples to train on, >= 1; 250, which most experiments of the paper have.
    num_epochs : int
        How often each is seen, >= 1; 20, the paper's.
    """

    kind: str = "transfer"
    source: Id
    target: Id
    judge: Id = ""
    wanted: int = 250
    num_epochs: int = 20

    def base(self, stage: Stage) -> Id:
        """The base that a stage computes with."""
        if stage in ("generate", "train"):
            return self.target
        return (self.judge or self.source) if stage == "filter" else self.source


class Base(Struct, frozen=True, kw_only=True):
    """A base model, by the memory that it takes.

    Parameters
    ----------
    id : str
        Its name.
    weights_bytes : float
        Its weights, >= 0.
    text_bytes : float
        What a text takes while it is generated, judged or labelled, >= 0.
    train_bytes : float
        What training an adapter takes beside the weights, >= 0.
    """

    id: Id
    weights_bytes: float = 0.0
    text_bytes: float = 0.0
    train_bytes: float = 0.0


class Part(Struct, frozen=True, array_like=True):
    """A transfer's share in a run: so many texts, or epochs where the stage is to train."""

    transfer: Id
    num: int


class Run(Action, frozen=True, gc=False):
    """Do one stage on a device for transfers that share its base; training is done for one alone."""

    device: Id
    stage: Stage
    parts: tuple[Part, ...]

    @property
    def subject(self) -> Id:
        """The device."""
        return self.device


class RunDone(Event, frozen=True, gc=False, kw_only=True):
    """A run that generated, labelled or trained is over; it took `took_s` seconds, loading the base included."""

    device: Id
    stage: Stage
    parts: tuple[Part, ...]
    took_s: Seconds


class Judged(Finished, frozen=True, gc=False, kw_only=True):
    """A run that filtered on the device `id` is over; `accepted` says how many texts of each part are kept.

    How many texts a discriminator keeps is the one thing that nobody can know before.
    """

    parts: tuple[Part, ...]
    accepted: tuple[int, ...]
    took_s: Seconds
