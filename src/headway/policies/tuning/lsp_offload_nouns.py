"""What offloaded fine-tuning is made of: jobs, the operations of a step, what is asked for and what happens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.nouns import Amounts, Id, Resource, Seconds, Work

Lane = Literal["gpu", "down", "cpu", "up"]
"""The accelerator, the link towards the host, the host's processor, the link back."""
What = Literal["forward", "backward", "check", "learn", "compress", "down", "update", "up", "apply"]

LANES: tuple[Lane, ...] = ("gpu", "down", "cpu", "up")
LANE_OF: Mapping[What, Lane] = {
    "forward": "gpu", "backward": "gpu", "check": "gpu", "learn": "gpu", "compress": "gpu", "apply": "gpu",
    "down": "down", "update": "cpu", "up": "up",
}  # fmt: skip
SLOT: Amounts = {"slot": 1.0}
"""What an operation occupies of its lane: all of it."""


class Layer(Struct, frozen=True, kw_only=True):
    """A layer as a scheduler may know it.

    Parameters
    ----------
    matrices : tuple of (int, int)
        Rows and columns of the weights that are multiplied with, each >= 1.
    num_small : int
        Its other trained parameters (norms, biases), which are never compressed, >= 0; 0 by default.
    forward_s, backward_s : float
        What its passes are expected to take on the accelerator, in seconds, >= 0.
    """

    matrices: tuple[tuple[int, int], ...]
    num_small: int = 0
    forward_s: Seconds = 0.0
    backward_s: Seconds = 0.0

    @property
    def num_params(self) -> int:
        """How many parameters are trained in it."""
        return self.num_small + sum(rows * columns for rows, columns in self.matrices)


class OffloadJob(Work, frozen=True, kw_only=True):
    """A fine-tuning whose optimizer lives on the host.

    Parameters
    ----------
    layers : tuple of Layer
        From the first to the last, at least one.
    num_steps : int
        Optimizer steps, >= 1.
    param_bytes : int
        Bytes of a number on the links, >= 1; 2.
    """

    kind: str = "offload"
    layers: tuple[Layer, ...]
    num_steps: int
    param_bytes: int = 2


class Op(Struct, frozen=True):
    """One operation of one layer in one step; its id says all of it."""

    job: Id
    step: int
    layer: int
    what: What

    @property
    def id(self) -> Id:
        """For example ``"tune/12/3/down"``."""
        return f"{self.job}/{self.step}/{self.layer}/{self.what}"

    @property
    def lane(self) -> Lane:
        """Where it runs."""
        return LANE_OF[self.what]

    @property
    def urgency(self) -> tuple[int, int]:
        """Smaller is needed sooner: the next forward pass begins with the first layer."""
        return self.step, self.layer


class Begin(Action, frozen=True, gc=False):
    """Let the waiting job `id` begin, with gradients and updates of this form.

    Parameters
    ----------
    id : str
        The job.
    width : int
        Side d of the square in which a matrix's gradient travels and its optimizer lives, >= 0. Matrices with no side
        longer than it, and all with 0, travel whole.
    nonzeros : int
        Non-zeros r of each row of a projector, >= 1; 8.
    alpha : float
        Learning ends when the bias falls to this share of the gradient, >= 0.
    learn_steps : int
        Or after so many iterations, >= 0.
    beta : float
        Weight of the projectors' norms in what learning minimises, >= 0.
    """

    id: Id
    width: int = 0
    nonzeros: int = 8
    alpha: float = 0.0
    learn_steps: int = 0
    beta: float = 0.0

    @property
    def subject(self) -> Id:
        """The job's id."""
        return self.id


class OpDone(Event, frozen=True, gc=False, kw_only=True):
    """An operation is over.

    Parameters
    ----------
    op : Op
        Which one.
    took_s : float
        How long it ran, in seconds.
    bias_frac : float
        After a check or learning, the bias as a share of the gradient; NaN otherwise.
    """

    op: Op
    took_s: Seconds
    bias_frac: float = math.nan


class Progress(Protocol):
    """How far a job is."""

    @property
    def job(self) -> OffloadJob:
        """The job itself."""

    @property
    def form(self) -> Begin | None:
        """In which form it runs; None before it began."""

    def num_done(self, step: int, what: What) -> int:
        """For how many layers an operation of a step is over."""

    def checked_at(self, layer: int) -> int:
        """The step of the last check of a layer's projectors; -1 before the first."""

    def learnt_at(self, layer: int) -> int:
        """The step in which they were last learnt; -1 before the first."""

    def bias_frac(self, layer: int) -> float:
        """What the last check or learning found; NaN before the first."""


class OffloadView(Protocol):
    """What policies of offloading may see."""

    @property
    def now_s(self) -> Seconds:
        """The present, in seconds since the start of the run."""

    @property
    def resources(self) -> Mapping[Id, Resource]:
        """The lanes, by name; their traits say how fast they are expected to be."""

    @property
    def jobs(self) -> Mapping[Id, Progress]:
        """Jobs that wait or run, in the order of their arrival."""

    @property
    def under_way(self) -> Progress | None:
        """The job that runs."""

    def ready(self, lane: Lane) -> Iterable[Op]:
        """Operations that could start on a lane but for its being busy, in the order in which they became ready."""

    def is_idle(self, lane: Lane) -> bool:
        """Whether nothing runs on a lane."""
