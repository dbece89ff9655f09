"""A claim as data: what was said, what is measured here, and what must follow from the numbers for them to agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from headway.plots.quantities import label_of

Numbers = Mapping[str, Mapping[str, float]]
"""What one seed came to: by contestant, then by metric."""
Measure = Callable[[int, bool], Numbers]
"""(seed, quick) -> numbers; at the top of a module, so that other processes find it."""

ROUGHLY = 2.0
"""A size agrees when it is within this factor of what was claimed, unless the claim says otherwise."""


class Quantity(Protocol):
    """Something that follows from the numbers of one seed."""

    @property
    def name(self) -> str:
        """What people call it."""

    def of(self, numbers: Numbers) -> float:
        """Return it; NaN when it does not exist."""


@dataclass(frozen=True)
class Of:
    """A metric of a contestant."""

    who: str
    metric: str

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{label_of(self.metric)} of {self.who}"

    def of(self, numbers: Numbers) -> float:
        """Return it; NaN when it does not exist."""
        return numbers.get(self.who, {}).get(self.metric, math.nan)


@dataclass(frozen=True)
class Ratio:
    """How many times one quantity is the other."""

    above: Quantity
    below: Quantity

    @property
    def name(self) -> str:
        """What people call it."""
        if isinstance(self.above, Of) and isinstance(self.below, Of) and self.above.metric == self.below.metric:
            return f"{label_of(self.above.metric)}: {self.above.who} over {self.below.who}"
        return f"{self.above.name} over {self.below.name}"

    def of(self, numbers: Numbers) -> float:
        """Return it; NaN when there is nothing to divide by."""
        below = self.below.of(numbers)
        return self.above.of(numbers) / below if below else math.nan


@dataclass(frozen=True)
class Below:
    """A direction: one quantity is smaller than the other."""

    less: Quantity
    more: Quantity

    @property
    def name(self) -> str:
        """What people call it."""
        if isinstance(self.less, Of) and isinstance(self.more, Of) and self.less.metric == self.more.metric:
            return f"{label_of(self.less.metric)}: {self.less.who} < {self.more.who}"
        return f"{self.less.name} < {self.more.name}"


@dataclass(frozen=True)
class Size:
    """A magnitude: a quantity is about as large as claimed.

    Parameters
    ----------
    quantity : Quantity
        What is measured.
    claimed : float
        What was claimed, > 0.
    factor : float
        Agreement ends beyond this factor, >= 1; 2. A ratio must also be on the claimed side of 1.
    slack : float or None
        Agreement ends beyond this distance instead, >= 0.
    at_least : bool
        Whether the claim is that it is no smaller, however large.
    """

    quantity: Quantity
    claimed: float
    factor: float = ROUGHLY
    slack: float | None = None
    at_least: bool = False

    @property
    def least(self) -> float:
        """The smallest that agrees."""
        if self.at_least:
            return self.claimed
        if self.slack is not None:
            return self.claimed - self.slack
        return max(self.claimed / self.factor, 1.0 if isinstance(self.quantity, Ratio) and self.claimed > 1 else 0.0)

    @property
    def most(self) -> float:
        """The largest that agrees."""
        if self.at_least:
            return math.inf
        if self.slack is not None:
            return self.claimed + self.slack
        is_less = isinstance(self.quantity, Ratio) and self.claimed < 1
        return min(self.claimed * self.factor, 1.0 if is_less else math.inf)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One comparison of a publication.

    Parameters
    ----------
    id : str
        Short and unique among the claims of a mechanism, such as ``"ablation-arxiv"``.
    text : str
        What was claimed, in one sentence with its numbers.
    source : str
        Where in the publication.
    hardware : str
        On what it was measured there.
    here : str
        What is run here instead.
    ours : str
        The contestant that the publication is about.
    contestants : dict of str to str
        What each contestant is, by name.
    measure : callable of (seed, quick) -> numbers
        Plays them all. `quick` asks for an answer in seconds, at the price of accuracy.
    directions : sequence of Below
        What must be smaller than what.
    sizes : sequence of Size
        What must be about how large; empty when the publication gives no number.
    claimed : dict of (str, str) to float
        Numbers of the publication by contestant and metric, shown beside ours; no verdict hangs on them.
    notes : sequence of str
        What to know before quoting the numbers: differences, and what was found out about them.
    """

    id: str
    text: str
    source: str
    hardware: str
    here: str
    ours: str
    contestants: Mapping[str, str]
    measure: Measure
    directions: Sequence[Below]
    sizes: Sequence[Size] = ()
    claimed: Mapping[tuple[str, str], float] = field(default_factory=dict)
    notes: Sequence[str] = ()


def rising(metric: str, *contestants: str) -> list[Below]:
    """Say that a metric rises from each contestant to the next."""
    return [Below(Of(one, metric), Of(other, metric)) for one, other in pairwise(contestants)]


def ratio(metric: str, above: str, below: str) -> Ratio:
    """Return how many times the metric of one contestant is that of another."""
    return Ratio(Of(above, metric), Of(below, metric))
