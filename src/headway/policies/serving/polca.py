"""Holding a row of servers below its power: low priority first, at two thresholds.

Patel et al. 2023 (arXiv 2308.12908) describe it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from headway.core.actions import Action, Set
from headway.core.errors import ConfigError
from headway.core.events import Event, Refused
from headway.core.nouns import Id, Seconds
from headway.policies.serving.power_news import FREQUENCY, FrequencySet, PowerRead
from headway.policies.serving.seats import ServingView

MAX_MHZ = 1410.0
"""Of an A100, for which the clocks were published."""
Rule = Literal["two-thresholds", "one-for-all", "one-for-low"]


class Polca:
    """Lowers clocks as the power of a row comes near to what it was provisioned with.

    From the first threshold on, instances of low priority run at their base clock; from the second on, they run lower
    still, and if that has happened and was not enough, those of high priority run a little lower. What was lowered
    last is raised first, one level at a time, when the power is a margin below its threshold. As long as commands to a
    class are under way, and until the meter can have seen what they came to, nothing more is asked.

    Parameters
    ----------
    low_pools : sequence of str
        The pools that serve low priority; all others are high. ("low",).
    first_frac : float
        The first threshold, as a share of the budget, in (0, second_frac]; 0.80.
    second_frac : float
        The second threshold, below 1; 0.89.
    margin_frac : float
        How far below a threshold the power must be before clocks rise, in [0, first); 0.05.
    low_first_frac : float
        The clock of low priority beyond the first threshold, as a share of the highest, in (0, 1]; 1275 of 1410 MHz.
    low_second_frac : float
        The same beyond the second, in (0, low_first_frac]; 1110 of 1410 MHz.
    high_frac : float
        The clock of high priority when that is not enough, in (0, 1]; 1305 of 1410 MHz.
    settle_s : float
        For how long after a change the meter still tells of the time before it, in seconds, >= 0; 4.
    rule : str
        ``"two-thresholds"``, or what it was compared with: ``"one-for-all"`` lowers all, ``"one-for-low"`` low priority
        alone, at the second threshold to `low_second_frac`.

    Raises
    ------
    ConfigError
        When a parameter is out of its range.

    Notes
    -----
    Source: Patel, Choukse, Zhang, Goiri, Warrier, Mahalingam, Bianchini, "POLCA: Power Oversubscription in LLM Cloud
    Providers", 2023 (arXiv 2308.12908).

    Faithful to the paper: readings that are late, commands that take tens of seconds, two thresholds with low priority
    before high, hysteresis, no new command while one is under way. Thresholds and clocks are those reported of the
    paper's setting; the margin of 5% is recalled and was not checked.

    Changed: priority belongs to pools of instances; requests are sent there by whoever routes. The power brake is the
    row's, not this mechanism's: it acts by itself. A reading tells of an interval that may be over for as long as
    another, so that none counts for `settle_s` after a change. Where the executor lacks ``"power"`` it hears of no
    readings, and does nothing.

    Cost: O(instances) per reading of the meter.

    Examples
    --------
    >>> from headway.policies.serving.board import ServingBoard
    >>> from headway.policies.serving.kv import BlockPool
    >>> from headway.policies.serving.state import InstanceState
    >>> pools = {"a": "low", "b": "high"}
    >>> view = ServingBoard([InstanceState(n, BlockPool(8), num_layers=2, pool=pool) for n, pool in pools.items()])
    >>> [(set.of, round(1410 * set.value)) for set in Polca().steer(PowerRead(at_s=4.0, watts=850.0, frac=0.85), view)]
    [('a', 1275)]
    """

    def __init__(
        self,
        *,
        low_pools: tuple[str, ...] = ("low",),
        first_frac: float = 0.80,
        second_frac: float = 0.89,
        margin_frac: float = 0.05,
        low_first_frac: float = 1275 / MAX_MHZ,
        low_second_frac: float = 1110 / MAX_MHZ,
        high_frac: float = 1305 / MAX_MHZ,
        settle_s: Seconds = 4.0,
        rule: Rule = "two-thresholds",
    ) -> None:
        if not 0 < first_frac <= second_frac < 1 or not 0 <= margin_frac < first_frac or not settle_s >= 0:
            must = "0 < first_frac <= second_frac < 1, margin_frac must be in [0, first_frac) and settle_s >= 0"
            got = f"{first_frac}, {second_frac}, {margin_frac} and {settle_s}"
            raise ConfigError(f"serving/polca: must have {must}, got {got}. Try the defaults.")
        if not 0 < low_second_frac <= low_first_frac <= 1 or not 0 < high_frac <= 1:
            must = "0 < low_second_frac <= low_first_frac <= 1 and 0 < high_frac <= 1"
            got = f"{low_second_frac}, {low_first_frac} and {high_frac}"
            raise ConfigError(f"serving/polca: must have {must}, got {got}. Try the defaults.")
        self.low_pools = low_pools
        self.first_frac = first_frac
        self.second_frac = second_frac
        self.margin_frac = margin_frac
        self.low_first_frac = low_first_frac
        self.low_second_frac = low_second_frac
        self.high_frac = high_frac
        self.settle_s = settle_s
        self.rule = rule
        self._forget()

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was asked for."""
        self._forget()

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Answer a reading of the meter with clocks."""
        if isinstance(event, PowerRead):
            self._judge(event)
            return list(self._commands(view))
        if isinstance(event, FrequencySet):
            self._under_way.discard(event.instance)
            self._changed_s = float(event.at_s)
        elif isinstance(event, Refused) and event.action == "Set" and event.id in self._under_way:
            self._under_way.discard(event.id)
            self._asked.pop(event.id, None)
        return ()

    def _forget(self) -> None:
        self._level = 0
        self._asked: dict[Id, float] = {}
        self._under_way: set[Id] = set()
        self._changed_s = -np.inf

    @property
    def _levels(self) -> list[tuple[float, float, float]]:
        """By level: from which threshold on, and the clocks of low and of high priority."""
        first, second, low = self.first_frac, self.second_frac, self.low_second_frac
        if self.rule == "one-for-all":
            return [(0.0, 1.0, 1.0), (second, low, low)]
        if self.rule == "one-for-low":
            return [(0.0, 1.0, 1.0), (second, low, 1.0)]
        return [(0.0, 1.0, 1.0), (first, self.low_first_frac, 1.0), (second, low, 1.0), (second, low, self.high_frac)]

    def _judge(self, read: PowerRead) -> None:
        """Go to the level that a reading calls for."""
        if self._under_way or read.at_s < self._changed_s + self.settle_s:
            return
        levels, level = self._levels, self._level
        if read.frac >= self.second_frac:
            # Low priority goes to its lowest at once; high priority follows when that was not enough.
            lowest = next(n for n, (_, low, _) in enumerate(levels) if low == levels[-1][1])
            self._level = min(max(level + 1, lowest), len(levels) - 1)
        elif level + 1 < len(levels) and read.frac >= levels[level + 1][0]:
            self._level = level + 1
        elif level and read.frac < levels[level][0] - self.margin_frac:
            self._level = level - 1

    def _commands(self, view: ServingView) -> Iterator[Action]:
        """Ask for the clocks that instances do not have."""
        _, low, high = self._levels[self._level]
        for name, instance in view.instances.items():
            wanted = low if instance.pool in self.low_pools else high
            if self._asked.get(name, 1.0) != wanted and name not in self._under_way:
                self._asked[name] = wanted
                self._under_way.add(name)
                yield Set(FREQUENCY, wanted, of=name)
