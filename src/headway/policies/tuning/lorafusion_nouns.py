"""The nouns of several adapters in one pipeline: jobs, mixed microbatches, and what happens to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from headway.core.actions import Action
from headway.core.events import Event
from headway.core.nouns import Id, Work
from headway.numerics.bins import rounded_up

Lengths = Sequence[Sequence[int]]
"""Tokens of every example, by global batch."""


class AdapterJob(Work, frozen=True, kw_only=True):
    """An adapter to be trained over a frozen model that it shares with others; what a scheduler may know of it.

    Parameters
    ----------
    lengths : tuple of tuple of int
        Tokens of every example, each >= 1, by global batch. The optimizer steps after each global batch.
    """

    kind: str = "adapter"
    lengths: tuple[tuple[int, ...], ...]

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return sum([sum(batch) for batch in self.lengths])


class Part(Struct, frozen=True, gc=False, array_like=True):
    """Examples of one global batch of one adapter: their numbers, and the tokens of each."""

    job: Id
    batch: int
    samples: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all of them."""
        return sum(self.lengths)


class Mix(Struct, frozen=True, gc=False, array_like=True):
    """A microbatch: examples of one or several adapters, computed together. One without parts only keeps a distance."""

    parts: tuple[Part, ...] = ()

    @property
    def tokens(self) -> int:
        """Tokens of its examples."""
        return sum([part.tokens for part in self.parts])

    def padded_tokens(self, tile_tokens: int) -> int:
        """Tokens that are computed: those of each adapter fill whole tiles, since a tile belongs to one adapter."""
        of: dict[Id, int] = {}
        for part in self.parts:
            of[part.job] = of.get(part.job, 0) + part.tokens
        return sum([rounded_up(tokens, tile_tokens) for tokens in of.values()])


class Enter(Action, frozen=True, gc=False):
    """Let a microbatch enter the pipeline; legal while its first stage is open."""

    mix: Mix

    @property
    def subject(self) -> Id:
        """The first of its jobs."""
        return self.mix.parts[0].job if self.mix.parts else ""


class Opened(Event, frozen=True, gc=False, kw_only=True):
    """The first stage of the pipeline can take another microbatch."""

    pipeline: Id


def part_of(job: Id, batch: int, samples: Iterable[int], lengths: Sequence[int]) -> Part:
    """Make a part of the examples with these numbers, of a global batch with these lengths."""
    numbers = tuple(samples)
    return Part(job, batch, numbers, tuple([lengths[number] for number in numbers]))


def merged(*mixes: Mix) -> Mix:
    """Put microbatches together; parts of one global batch become one."""
    parts: dict[tuple[Id, int], Part] = {}
    for part in [part for mix in mixes for part in mix.parts]:
        there = parts.get((part.job, part.batch))
        if there is not None:
            part = Part(part.job, part.batch, there.samples + part.samples, there.lengths + part.lengths)
        parts[part.job, part.batch] = part
    return Mix(tuple(parts.values()))


def apart(mix: Mix) -> list[Mix]:
    """Take a microbatch apart into single examples, the shortest first."""
    ones = [
        Part(part.job, part.batch, (number,), (tokens,))
        for part in mix.parts
        for number, tokens in zip(part.samples, part.lengths, strict=True)
    ]
    return [Mix((one,)) for one in sorted(ones, key=lambda one: one.lengths)]
