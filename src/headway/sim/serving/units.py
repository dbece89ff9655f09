"""How long a unit of fine-tuning takes in virtual time: the protocol of its prices, and the simplest of them."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.nouns import Phase, TuneJob, TuneUnit
from headway.sim.serving.price import BatchShape, Chunk, StepPrice


class TrueJob(Struct, frozen=True, kw_only=True):
    """A fine-tuning job with what its units cost.

    Parameters
    ----------
    job : TuneJob
        What policies know of it.
    rank, example_tokens : int
        See `UnitShape`.
    """

    job: TuneJob
    rank: int = 16
    example_tokens: int = 512

    def shape_of(self, unit: TuneUnit, share: float = 1.0) -> UnitShape:
        """Return what a unit of it computes."""
        first, last = unit.layers
        tokens = self.job.microbatches[unit.microbatch].tokens
        at_head = last == self.job.num_layers and unit.phase != "update"
        return UnitShape(unit.phase, tokens, last - first, at_head, share, self.rank, self.example_tokens)


class UnitShape(Struct, frozen=True, gc=False):
    """What a unit computes, as far as its price depends on it.

    Parameters
    ----------
    phase : str
        ``"forward"``, ``"backward"`` or ``"update"``.
    tokens : int
        Of its microbatch, padding included, >= 1; an update does not depend on it.
    num_layers : int
        Through how many layers it goes, >= 1.
    at_head : bool
        Whether it has the product to the logits and the loss, or the gradients of these.
    share : float
        The share of the compute that it gets, in (0, 1].
    rank : int
        Of the adapter, >= 1; 16.
    example_tokens : int
        How long an example is, >= 1, or the microbatch if that is shorter: tokens attend to those of their example;
        512.
    """

    phase: Phase
    tokens: int
    num_layers: int
    at_head: bool = False
    share: float = 1.0
    rank: int = 16
    example_tokens: int = 512


class UnitPrice(Protocol):
    """Tells what a unit of fine-tuning costs on one instance."""

    def unit_s(self, shape: UnitShape) -> Seconds:
        """Return how long it takes alone with its share of the compute, in seconds, > 0."""

    def unit_reads_frac(self, shape: UnitShape) -> float:
        """Return the share of the memory bandwidth that it then draws, in [0, 1]."""

    def chunk_of(self, shape: UnitShape) -> Chunk | None:
        """Return the chunk of a prompt that computes about as much through as many layers; None of an update."""


class ChunkUnits:
    """Prices units by those of chunks of prompts: each layer costs its part of a chunk that passes through all.

    With frozen base weights a backward pass has the products of a forward one, for the gradients of activations;
    those of the adapter are small. So both cost what a chunk costs, and `extra_frac` more.

    Parameters
    ----------
    price : StepPrice
        Of steps.
    num_layers : int
        Of the model, >= 1.
    extra_frac : float
        What a unit has beyond a chunk (the adapter, the loss), as a share of it, >= 0; 0.1, an assumption.
    update_s : float
        Of one step of the optimizer over all layers, in seconds, >= 0; 1 ms, an assumption.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    def __init__(self, price: StepPrice, num_layers: int, extra_frac: float = 0.1, update_s: Seconds = 1e-3) -> None:
        if num_layers < 1 or not extra_frac >= 0 or not update_s >= 0:
            raise ConfigError(
                f"units: num_layers must be >= 1, extra_frac and update_s >= 0, got {num_layers}, {extra_frac} and "
                f"{update_s}. Try the defaults."
            )
        self._price = price
        self._num_layers = num_layers
        self._extra_frac = extra_frac
        self._update_s = update_s

    def unit_s(self, shape: UnitShape) -> Seconds:
        """Return how long it takes alone with its share of the compute, in seconds."""
        layers_frac = shape.num_layers / self._num_layers
        if shape.phase == "update":
            return self._update_s * layers_frac / shape.share
        whole_s = self._price.step_s(BatchShape(0, 0, (Chunk(shape.tokens, 0),), shape.share))
        return whole_s * layers_frac * (1 + self._extra_frac)

    def unit_reads_frac(self, shape: UnitShape) -> float:
        """Return the share of the memory bandwidth that it then draws, where the price of steps knows."""
        chunk, reads = self.chunk_of(shape), getattr(self._price, "reads_frac", None)
        if chunk is None or reads is None:
            return 0.0
        return float(reads(BatchShape(0, 0, (chunk,), shape.share)))

    def chunk_of(self, shape: UnitShape) -> Chunk | None:
        """Return the chunk of a prompt that computes about as much through as many layers; None of an update."""
        if shape.phase == "update":
            return None
        return Chunk(shape.tokens, 0, min(1.0, shape.num_layers / self._num_layers))
