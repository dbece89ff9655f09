"""Words of a quantum network: what users demand, what a protocol does for them, and the table that nodes follow."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headway.core.actions import Start
from headway.core.nouns import Id, Work

NODE = "node"
"""The kind of resource that is a node."""
COMMUNICATION, STORAGE = "communication", "storage"
"""What a node has: qubits that can make pairs with a neighbour, and qubits that can only keep theirs."""


class Demand(Work, frozen=True, kw_only=True):
    """Two users who want entangled pairs.

    Parameters
    ----------
    source, target : str
        Their nodes.
    fidelity : float
        The least that a pair must have, in (0.5, 1).
    rate_per_s : float
        How many pairs they want per second at least, > 0.
    """

    source: Id
    target: Id
    fidelity: float
    rate_per_s: float


class Fibre(Struct, frozen=True):
    """Two neighbours, and how far they are from each other."""

    one: Id
    other: Id
    length_km: float


class Op(Struct, frozen=True):
    """One operation of a protocol.

    Parameters
    ----------
    kind : str
        ``"generate"`` a pair over a fibre, ``"swap"`` two pairs into one, ``"distil"`` one pair with another.
    at : tuple of str
        The ends of a new pair; where a swap is; the ends of the pairs that are distilled.
    inputs : tuple of int
        Places of the operations whose pairs it takes.
    start, num_slots : int
        When in the protocol, and for how long.
    fidelity : float
        Of the pair that comes out.
    success : float
        How likely it is to work, in (0, 1].
    """

    kind: Literal["generate", "swap", "distil"]
    at: tuple[Id, ...]
    inputs: tuple[int, ...]
    start: int
    num_slots: int
    fidelity: float
    success: float = 1.0

    @property
    def end(self) -> int:
        """The slot after its last."""
        return self.start + self.num_slots


class Hold(Struct, frozen=True):
    """A qubit of a node that keeps its half of a pair, from the first slot of its making."""

    node: Id
    start: int
    end: int


class Protocol(Struct, frozen=True):
    """What is done for one pair of a demand: a block of slots, to be repeated.

    Parameters
    ----------
    ops : tuple of Op
        All operations; the last makes the pair that is delivered.
    holds : tuple of Hold
        The qubits that it occupies, those that make pairs included.
    """

    ops: tuple[Op, ...]
    holds: tuple[Hold, ...]

    @property
    def num_slots(self) -> int:
        """How long it takes without a break."""
        return max(op.end for op in self.ops)

    @property
    def fidelity(self) -> float:
        """Of what it delivers."""
        return self.ops[-1].fidelity

    @property
    def success(self) -> float:
        """How likely it is that all works."""
        found = 1.0
        for op in self.ops:
            found *= op.success
        return found

    @property
    def nodes(self) -> tuple[Id, ...]:
        """All nodes that take part, sorted."""
        return tuple(sorted({hold.node for hold in self.holds}))

    def ends(self, op: int = -1) -> tuple[Id, ...]:
        """Between which nodes the pair of an operation is; the last by default."""
        what = self.ops[op]
        if what.kind != "swap":
            return what.at
        return tuple(node for one in what.inputs for node in self.ends(one) if node not in what.at)

    @property
    def cuts(self) -> tuple[int, ...]:
        """Slots at which no operation is under way, so that it can be stopped: from 0 to its length."""
        ends = sorted({op.start for op in self.ops} | {op.end for op in self.ops})
        return tuple(at for at in ends if not any(op.start < at < op.end for op in self.ops))


class Piece(Struct, frozen=True):
    """A part of a protocol without a break: `num_slots` from its slot `offset` on, at `start`."""

    offset: int
    start: int
    num_slots: int


class Entry(Struct, frozen=True):
    """One run of a protocol in a table.

    Parameters
    ----------
    demand : str
        Whose.
    release, deadline : int
        It lies between these slots.
    pieces : tuple of Piece
        In order; one where it has no break.
    """

    demand: Id
    release: int
    deadline: int
    pieces: tuple[Piece, ...]

    @property
    def start(self) -> int:
        """Its first slot."""
        return self.pieces[0].start

    @property
    def end(self) -> int:
        """The slot after its last."""
        return self.pieces[-1].start + self.pieces[-1].num_slots


class Table(Struct, frozen=True):
    """What the whole network does, over and over.

    Parameters
    ----------
    num_slots : int
        After so many it begins again.
    protocols : dict of str to Protocol
        By demand.
    periods : dict of str to int
        In every so many slots each demand has one run.
    entries : tuple of Entry
        All runs, by start.
    """

    num_slots: int
    protocols: dict[Id, Protocol]
    periods: dict[Id, int]
    entries: tuple[Entry, ...]


class Serve(Start, frozen=True, gc=False):
    """Begin to serve the demand `id`, and let the network follow `table` from its next beginning on."""

    table: Table
