"""Dispatching rules by name, each a key by which tasks that are ready are sorted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from headway.core.errors import unknown_name
from headway.core.nouns import Seconds
from headway.policies.shop.seats_dispatch import Ready, Rule

Key: TypeAlias = float | tuple[float, ...]


class Formula:
    """A rule that is a formula.

    Parameters
    ----------
    name : str
        Which: a key of `STAYING` or of `CHANGING`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.dynamic = name in CHANGING
        self._of = CHANGING[name] if self.dynamic else STAYING[name]

    def __reduce__(self) -> tuple[type[Formula], tuple[str]]:
        return Formula, (self.name,)

    def key(self, ready: Ready, now_s: Seconds) -> Key:
        """Return the key of a task."""
        return self._of(ready, now_s)


class ApparentTardinessCost:
    """ATC: weight over duration, less the further its job is from being late.

    Source: A. P. J. Vepsalainen, T. E. Morton, "Priority rules for job shops with weighted tardiness costs", 1987.

    Parameters
    ----------
    look_ahead : float
        How many mean durations ahead lateness begins to count, > 0; 3, theirs for job shops.
    waits : float
        How long a task is taken to wait, in its own durations, >= 0; 2, theirs.
    """

    dynamic = True

    def __init__(self, *, look_ahead: float = 3.0, waits: float = 2.0) -> None:
        self.look_ahead = look_ahead
        self.waits = waits
        self._mean_s = 0.0

    def look(self, queue: Sequence[Ready], now_s: Seconds) -> None:
        """Take the mean duration of the queue."""
        self._mean_s = sum(ready.duration_s for ready in queue) / len(queue) if queue else 0.0

    def key(self, ready: Ready, now_s: Seconds) -> Key:
        """Return the key of a task."""
        later_s = (1 + self.waits) * max(ready.work_left_s - ready.duration_s, 0.0)
        slack_s = max(ready.due_s - now_s - ready.duration_s - later_s, 0.0)
        pace = self.look_ahead * (self._mean_s or ready.duration_s)
        rate = ready.weight / ready.duration_s if ready.duration_s else math.inf
        urgency = math.exp(-slack_s / pace) if pace else 1.0
        return (-rate * urgency if urgency else 0.0, slack_s)


class Random:
    """Any task is as good as any other."""

    dynamic = False

    def __init__(self) -> None:
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Draw from `rng` from now on."""
        self._rng = rng

    def key(self, ready: Ready, now_s: Seconds) -> Key:
        """Return what a die says."""
        return float(self._rng.random())


def flow_due_s(ready: Ready) -> Seconds:
    """Return when a task would end, had its job never waited."""
    return ready.release_s + ready.job_work_s - ready.work_left_s + ready.duration_s


def slack_s(ready: Ready, now_s: Seconds) -> Seconds:
    """Return how long a job could still wait and be on time."""
    return ready.due_s - now_s - ready.work_left_s


def _per_work(value_s: float, ready: Ready) -> float:
    return value_s / ready.work_left_s if ready.work_left_s else math.copysign(math.inf, value_s)


STAYING: Mapping[str, Callable[[Ready, Seconds], Key]] = {
    "fifo": lambda r, _: r.ready_since_s,
    "lifo": lambda r, _: (-r.ready_since_s, -r.number),
    "spt": lambda r, _: r.duration_s,
    "lpt": lambda r, _: -r.duration_s,
    "mwkr": lambda r, _: -r.work_left_s,
    "lwkr": lambda r, _: r.work_left_s,
    "mopnr": lambda r, _: -r.num_left,
    "lopnr": lambda r, _: r.num_left,
    "fdd": lambda r, _: flow_due_s(r),
    "fdd/mwkr": lambda r, _: _per_work(flow_due_s(r), r),
    "spt/twkr": lambda r, _: r.duration_s / r.job_work_s if r.job_work_s else 0.0,
    "edd": lambda r, _: r.due_s,
    "wspt": lambda r, _: r.duration_s / r.weight if r.weight else math.inf,
}
"""Formulas whose keys stay as they are while a task waits."""
CHANGING: Mapping[str, Callable[[Ready, Seconds], Key]] = {
    "mdd": lambda r, now: max(r.due_s, now + r.work_left_s),
    "cr": lambda r, now: _per_work(r.due_s - now, r),
    "slack": slack_s,
    "slack/op": lambda r, now: slack_s(r, now) / r.num_left,
}
"""Formulas whose keys change with time."""
_OTHERS: Mapping[str, Callable[[], Rule]] = {"atc": ApparentTardinessCost, "random": Random}
ALIASES = {"mtwr": "mwkr", "ltwr": "lwkr", "mor": "mopnr", "lor": "lopnr", "mwrm": "mwkr", "s/opn": "slack/op"}
"""Other names of the same rules."""
NAMES = (*STAYING, *CHANGING, *_OTHERS)
"""All rules.

First come first served and last; shortest and longest task; most and least work remaining; most and least operations
remaining; earliest flow due date, alone and per work remaining; share of the job; earliest due date; weighted shortest;
modified due date; critical ratio; least slack, alone and per operation; apparent tardiness cost; dice.
"""


def rule(name: str) -> Rule:
    """Make a rule.

    Parameters
    ----------
    name : str
        One of `NAMES` or of `ALIASES`, in any case.

    Raises
    ------
    UnknownName
        When there is none of that name.
    """
    known = name.lower()
    known = ALIASES.get(known, known)
    if known not in NAMES:
        raise unknown_name("shop: rule", name, (*NAMES, *ALIASES))
    return _OTHERS[known]() if known in _OTHERS else Formula(known)
