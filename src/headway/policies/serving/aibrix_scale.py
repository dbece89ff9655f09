"""AIBrix's autoscalers: how many instances a pool should have, from how loaded it has been."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from headway.core.actions import Action, Set, Wake
from headway.core.events import Event, Woke
from headway.core.nouns import Seconds
from headway.policies.serving.pools import PoolState
from headway.policies.serving.seats import ServingView
from headway.policies.serving.state import InstanceState

TICK = "aibrix-scale"
METRICS: dict[str, Callable[[InstanceState], float]] = {
    "kv_used_frac": lambda instance: instance.kv.used_frac,
    "waiting": lambda instance: float(len(instance.waiting)),
    "requests": lambda instance: float(instance.num_requests),
}
"""What can be looked at of an instance."""


class Rules(NamedTuple):
    """What the algorithms are told.

    Parameters
    ----------
    target : float
        What the metric should be on each instance, > 0.
    up_tolerance, down_tolerance : float
        How far it may be above and below, as a share of the target, >= 0.
    max_up, max_down : float
        How many times as many, or as few, one decision may ask for, > 1.
    down_cooldown_s : float
        After a change, how long until there may be fewer, in seconds, >= 0.
    stable_s, panic_s : float
        The long window of KPA, and its short one, which is also that of APA, in seconds, > 0.
    panic_times : float
        KPA panics when the short window asks for more than so many times what the long one does, > 1.
    lag_s : float
        How old what HPA sees is, in seconds, >= 0.
    """

    target: float = 0.5
    up_tolerance: float = 0.1
    down_tolerance: float = 0.1
    max_up: float = 2.0
    max_down: float = 2.0
    down_cooldown_s: Seconds = 300.0
    stable_s: Seconds = 180.0
    panic_s: Seconds = 60.0
    panic_times: float = 2.0
    lag_s: Seconds = 30.0


class Sample(NamedTuple):
    """How loaded a pool was: the metric over all of its instances, and how many there were."""

    at_s: Seconds
    total: float
    num: int


class Algorithm:
    """Keeps what was seen, and says how many instances there should be.

    Parameters
    ----------
    rules : Rules
        What it is told.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._samples: deque[Sample] = deque()
        self._changed_s = -math.inf

    def wanted(self, sample: Sample, num: int) -> int:
        """Return how many there should be, where now `num` were asked for."""
        self._samples.append(sample)
        while self._samples[0].at_s < sample.at_s - max(self.rules.stable_s, self.rules.lag_s):
            self._samples.popleft()
        found = self._decide(sample.at_s, max(1, num))
        if found < num and sample.at_s < self._changed_s + self.rules.down_cooldown_s:
            return num
        if found != num:
            self._changed_s = sample.at_s
        return found

    def _decide(self, now_s: Seconds, num: int) -> int:
        raise NotImplementedError

    def _window(self, now_s: Seconds, window_s: Seconds) -> list[Sample]:
        return [sample for sample in self._samples if sample.at_s >= now_s - window_s]

    def _limited(self, desired: int, num: int) -> int:
        """Return what is desired, but not too many times as many or as few as now."""
        most = math.ceil(self.rules.max_up * num)
        return min(max(desired, math.floor(num / self.rules.max_down)), most)


class Apa(Algorithm):
    """AIBrix's own: by the ratio of the load of each instance to its target, with tolerances on both sides."""

    def _decide(self, now_s: Seconds, num: int) -> int:
        window = self._window(now_s, self.rules.panic_s)
        ratio = _per_instance(window) / self.rules.target
        if ratio > 1 + self.rules.up_tolerance or ratio < 1 - self.rules.down_tolerance:
            return self._limited(math.ceil(num * ratio), num)
        return num


class Kpa(Algorithm):
    """Knative's: by the demand over all instances in a long window, or in a short one when that has soared."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._panic_s = -math.inf  # when it was last right to panic
        self._most = 0

    def _decide(self, now_s: Seconds, num: int) -> int:
        rules = self.rules
        stable = _total(self._window(now_s, rules.stable_s))
        panic = _total(self._window(now_s, rules.panic_s))
        if panic > 0 and (stable == 0 or panic / stable > rules.panic_times):
            self._panic_s = now_s
        panics = now_s < self._panic_s + rules.stable_s
        demand = max(stable, panic) if panics else stable
        ratio = demand / rules.target / num
        even = 1 - rules.down_tolerance <= ratio <= 1 + rules.up_tolerance
        desired = num if even else self._limited(math.ceil(demand / rules.target), num)
        self._most = max(self._most, desired, num) if panics else 0
        return max(desired, self._most)


class Hpa(Algorithm):
    """Kubernetes' own: by the ratio alone, seen late, and never fewer than was right at any time of the cooldown."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self._recommended: deque[tuple[Seconds, int]] = deque()

    def _decide(self, now_s: Seconds, num: int) -> int:
        seen = [sample for sample in self._samples if sample.at_s <= now_s - self.rules.lag_s]
        desired = self._by_ratio(seen[-1], num) if seen else num
        self._recommended.append((now_s, desired))
        while self._recommended[0][0] < now_s - self.rules.down_cooldown_s:
            self._recommended.popleft()
        most = max(recommended for _, recommended in self._recommended)
        return max(desired, min(num, most))

    def _by_ratio(self, sample: Sample, num: int) -> int:
        ratio = _per_instance([sample]) / self.rules.target
        if ratio > 1 and num > sample.num:  # those that are not ready count as idle
            ratio = max(1.0, sample.total / num / self.rules.target)
        even = 1 - self.rules.down_tolerance <= ratio <= 1 + self.rules.up_tolerance
        base = num if ratio > 1 else max(1, sample.num)
        return num if even else min(math.ceil(base * ratio), math.ceil(self.rules.max_up * num))


ALGORITHMS: dict[str, type[Algorithm]] = {"apa": Apa, "kpa": Kpa, "hpa": Hpa}


class Autoscaler:
    """Looks at every pool at even times, and sets how many instances it has.

    Parameters
    ----------
    algorithm : str
        Of `ALGORITHMS`.
    rules : Rules
        What it is told.
    metric : str
        Of `METRICS`.
    every_s : float
        How often it looks, in seconds, > 0.
    min_instances : int
        It never asks for fewer, >= 0.
    """

    def __init__(self, algorithm: str, rules: Rules, metric: str, every_s: Seconds, min_instances: int) -> None:
        self._make = ALGORITHMS[algorithm]
        self._rules = rules
        self._metric = METRICS[metric]
        self._every_s = every_s
        self._min_instances = min_instances
        self._algorithms: dict[str, Algorithm] = {}
        self._next_s = -math.inf

    def steer(self, event: Event, view: ServingView) -> Iterable[Action]:
        """Look when it is time, and say when it is next."""
        if "scale" not in view.can:
            return
        if self._next_s == -math.inf:
            yield self._wake_after(view.now_s)
        elif isinstance(event, Woke) and event.tag == TICK and view.now_s >= self._next_s:
            for pool, counts in view.pools.items():
                wanted = self._wanted(pool, counts, view)
                if wanted != counts.num_wanted:
                    yield Set("num_instances", wanted, of=pool)
            yield self._wake_after(view.now_s)

    def _wanted(self, pool: str, counts: PoolState, view: ServingView) -> int:
        up = [i for i in view.instances.values() if i.pool == pool and not i.draining]
        sample = Sample(view.now_s, sum(map(self._metric, up)), len(up))
        algorithm = self._algorithms.setdefault(pool, self._make(self._rules))
        wanted = algorithm.wanted(sample, counts.num_wanted)
        if not counts.num_wanted and not view.unrouted:
            wanted = 0
        return min(max(wanted, self._min_instances), counts.most)

    def _wake_after(self, now_s: Seconds) -> Wake:
        self._next_s = now_s + self._every_s
        return Wake(self._next_s, TICK)


def _total(samples: list[Sample]) -> float:
    """Return the mean over time of the metric of all instances together."""
    return sum(sample.total for sample in samples) / len(samples)


def _per_instance(samples: list[Sample]) -> float:
    """Return the mean over time of the metric of each instance."""
    means = [sample.total / sample.num for sample in samples if sample.num]
    return sum(means) / len(means) if means else 0.0
