"""What kinds of calls take on which instances, and what workflows have still to do after each, learnt as they go by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from headway.core.nouns import Id, Seconds

LATEST = 0.02
"""The least weight of the latest observation in a mean."""


class Mean:
    """A mean in which old values fade."""

    __slots__ = ("num", "value")

    def __init__(self) -> None:
        self.num = 0
        self.value = 0.0

    def add(self, value: float) -> None:
        """Take in a value."""
        self.num += 1
        self.value += (value - self.value) * max(1 / self.num, LATEST)


class StageTimes:
    """How long a call of each stage takes on each pool of instances, from its first step to its end.

    Parameters
    ----------
    given : mapping of str to mapping of str to float
        Times that are known, in seconds, by pool and stage; nothing is learnt over them.
    """

    def __init__(self, given: Mapping[str, Mapping[str, Seconds]]) -> None:
        self._given = given
        self._learnt: dict[tuple[str, str], Mean] = {}
        self._of_stage: dict[str, Mean] = {}
        self._slowness: dict[str, Mean] = {}
        self._all = Mean()

    def learn(self, stage: str, pool: str, took_s: Seconds) -> None:
        """Note how long a call took."""
        self._learnt.setdefault((pool, stage), Mean()).add(took_s)
        typical = self._of_stage.setdefault(stage, Mean())
        typical.add(took_s)
        self._all.add(took_s)
        if typical.value > 0:
            self._slowness.setdefault(pool, Mean()).add(took_s / typical.value)

    def of(self, stage: str, pool: str) -> Seconds:
        """Return how long a call is expected to take, in seconds, > 0.

        Where a pool has not met the stage yet, it is what the stage takes elsewhere, times how slow the pool is.
        """
        known = self._given.get(pool, {}).get(stage)
        if known is not None:
            return known
        own = self._learnt.get((pool, stage))
        if own is not None:
            return max(own.value, 1e-6)
        typical = self._of_stage.get(stage, self._all)
        slowness = self._slowness.get(pool)
        return max(typical.value if typical.num else 1.0, 1e-6) * (slowness.value if slowness is not None else 1.0)

    def average(self, stage: str, pools: Collection[str]) -> Seconds:
        """Return the mean over pools of how long a call is expected to take, in seconds, > 0."""
        return sum(self.of(stage, pool) for pool in pools) / max(1, len(pools))


class Course:
    """Which stages workflows go through, and what is left after each.

    Parameters
    ----------
    nominal : sequence of str
        The stages of a typical workflow in order, one entry per round; when empty they are learnt.
    """

    def __init__(self, nominal: Sequence[str]) -> None:
        self._nominal = tuple(nominal)
        self._left: dict[str, dict[str, Mean]] = {}
        self._num_seen: dict[str, int] = {}

    def learn(self, rounds: Sequence[str]) -> None:
        """Note the rounds of a workflow that is over."""
        if self._nominal:
            return
        left: dict[str, int] = {}
        for stage in reversed(rounds):
            known = self._left.setdefault(stage, {})
            for later in left:
                if later not in known:  # it never came after this stage before
                    known[later] = Mean()
                    known[later].num = self._num_seen.get(stage, 0)
            for later, mean in known.items():
                mean.add(float(left.get(later, 0)))
            self._num_seen[stage] = self._num_seen.get(stage, 0) + 1
            left[stage] = left.get(stage, 0) + 1

    def left(self, rounds: Sequence[str]) -> Mapping[str, float]:
        """Return how many rounds of each stage are to come after the last of `rounds`."""
        if not self._nominal:
            return {stage: mean.value for stage, mean in self._left.get(rounds[-1], {}).items()}
        place = 0
        for stage in rounds:  # what was skipped is not to come any more; what is repeated more often changes nothing
            if stage in self._nominal[place:]:
                place = self._nominal.index(stage, place) + 1
        found: dict[str, float] = {}
        for stage in self._nominal[place:]:
            found[stage] = found.get(stage, 0.0) + 1.0
        return found


class Query:
    """A workflow under way.

    Attributes
    ----------
    began_s, slo_s : float
        When its first call arrived, and within which time of that it is to be over.
    rounds : list of (str, int)
        The stages it has been through, the present one last, and how many calls side by side each had.
    ready_s, elapsed_s : float
        When the present round began, and how long all before it took.
    open : set of str
        Its calls that have not ended.
    """

    __slots__ = ("began_s", "elapsed_s", "open", "ready_s", "rounds", "slo_s")

    def __init__(self, began_s: Seconds) -> None:
        self.began_s = self.ready_s = began_s
        self.slo_s: Seconds = 0.0
        self.elapsed_s: Seconds = 0.0
        self.rounds: list[tuple[str, int]] = []
        self.open: set[Id] = set()

    def call(self, id: Id, stage: str, now_s: Seconds) -> None:
        """Note a call that has come; those that come together are of one round."""
        if self.open and self.ready_s == now_s and self.rounds[-1][0] == stage:
            self.rounds[-1] = stage, self.rounds[-1][1] + 1
        else:
            self.rounds.append((stage, 1))
            if not self.open:
                self.ready_s = now_s
        self.open.add(id)

    def end(self, id: Id, now_s: Seconds) -> None:
        """Note that a call has ended."""
        self.open.discard(id)
        if not self.open:
            self.elapsed_s += now_s - self.ready_s

    @property
    def stages(self) -> list[str]:
        """The stages it has been through."""
        return [stage for stage, _ in self.rounds]
