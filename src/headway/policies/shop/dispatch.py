"""Dispatching by a rule with a name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.core.errors import ConfigError, UnknownName
from headway.core.nouns import Seconds
from headway.policies.shop.rules import Key
from headway.policies.shop.rules import rule as rule_named
from headway.policies.shop.seats_dispatch import Ready


class Dispatch:
    """Whenever a machine is free, the ready task with the lowest key begins on it.

    Parameters
    ----------
    rule : str
        Its name: fifo, lifo, spt, lpt, mwkr (or mtwr), lwkr, mopnr (or mor), lopnr (or lor), fdd, fdd/mwkr, spt/twkr,
        edd, wspt, mdd, cr, slack, slack/op, atc or random; ``"mwkr"``, most work remaining, by default.

    Raises
    ------
    ConfigError
        When there is no such rule.

    Notes
    -----
    Source: R. Haupt, "A survey of priority rule-based scheduling", 1989, for the rules; their formulas are in `rules`.

    Faithful to the paper: keys are those of the survey. Ties go to who was ready first.

    Cost: O(1) a key.

    Examples
    --------
    >>> ready = Ready(task="a.0", duration_s=3.0, work_left_s=9.0)
    >>> Dispatch(rule="mwkr").key(ready, 0.0), Dispatch(rule="spt").key(ready, 0.0)
    (-9.0, 3.0)
    """

    def __init__(self, *, rule: str = "mwkr") -> None:
        self.rule = rule
        try:
            self._rule = rule_named(rule)
        except UnknownName as error:
            raise ConfigError(str(error)) from error

    @property
    def dynamic(self) -> bool:
        """Whether keys change while a task waits."""
        return self._rule.dynamic

    def reset(self, rng: np.random.Generator) -> None:
        """Forget what was seen; dice come from `rng`."""
        self._rule = rule_named(self.rule)
        if hasattr(self._rule, "reset"):
            self._rule.reset(rng)

    def look(self, queue: Sequence[Ready], now_s: Seconds) -> None:
        """See the whole queue of a machine."""
        if hasattr(self._rule, "look"):
            self._rule.look(queue, now_s)

    def key(self, ready: Ready, now_s: Seconds) -> Key:
        """Return the key of a task."""
        return self._rule.key(ready, now_s)
