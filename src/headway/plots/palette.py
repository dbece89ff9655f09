"""Colours that people with any colour vision can tell apart, and that stay with their owner on every chart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#606870")
"""Blue, vermilion, green, pink, orange, sky (Okabe and Ito, Color Universal Design, 2008), and slate."""
DASHES = ("solid", "dash", "dot", "dashdot")
"""What tells apart those who share a colour, round by round."""
MARKERS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down")
BOUND = "#d6403a"
"""The colour of objectives: nobody else has it."""


@dataclass(frozen=True)
class Look:
    """How one name is drawn.

    Parameters
    ----------
    colour : str
        ``"#rrggbb"``.
    dash : str
        One of `DASHES`.
    marker : str
        One of `MARKERS`.
    """

    colour: str
    dash: str
    marker: str

    @property
    def fill(self) -> str:
        """The colour of areas, which have no dashes: lighter from round to round."""
        light = DASHES.index(self.dash) * 0.22
        parts = [int(self.colour[place : place + 2], 16) for place in (1, 3, 5)]
        return "#" + "".join(f"{round(part + (255 - part) * light):02x}" for part in parts)


class Palette:
    """Gives every name its look when it is first asked for, and the same one ever after.

    Parameters
    ----------
    names : iterable of str
        Names that get theirs right away, in this order.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._looks: dict[str, Look] = {}
        self._kinds: dict[str, Palette] = {}
        for name in names:
            self.look(name)

    def look(self, name: str) -> Look:
        """Return the look of a name."""
        if name not in self._looks:
            turn, place = divmod(len(self._looks), len(COLOURS))
            self._looks[name] = Look(COLOURS[place], DASHES[turn % len(DASHES)], MARKERS[place])
        return self._looks[name]

    def of(self, kind: str) -> Palette:
        """Return the palette of another kind of names, which begins with the first colour again.

        Parameters
        ----------
        kind : str
            What the names are, for example ``"resources"``; empty for this palette itself.
        """
        return self._kinds.setdefault(kind, Palette()) if kind else self
