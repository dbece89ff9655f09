"""A small simulation of workflows on unequal instances, by which HexGen's dispatch is tuned."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from headway.core.nouns import Id, Seconds

Times = Callable[[str, str], Seconds]
"""(stage, pool) -> seconds of a call."""
GRID = tuple(number / 10 for number in range(11))
"""The values of alpha that are tried."""


class Past(NamedTuple):
    """A workflow that is over: when it began, what it was promised, and its rounds of calls side by side."""

    began_s: Seconds
    slo_s: Seconds
    rounds: Sequence[tuple[str, int]]


class Felt(NamedTuple):
    """What came of a replay: how many workflows were late, and the 95% quantile of time over promise."""

    late_frac: float
    p95: float


class Place(NamedTuple):
    """An instance: its pool, and how many calls it serves side by side."""

    pool: str
    slots: int


def score(alpha: float, queue_s: Seconds, call_s: Seconds, beta_s2: float) -> float:
    """Return how well an instance suits a call: (1 - alpha) x beta / queue - alpha x call, in seconds."""
    return (1 - alpha) * beta_s2 / max(queue_s, 1e-3 * call_s) - alpha * call_s


def best_place(alpha: float, queued_s: Mapping[Id, Seconds], call_s: Mapping[Id, Seconds]) -> Id:
    """Return the instance with the largest score; of equals the one with the shorter call."""
    beta_s2 = (sum(call_s.values()) / len(call_s)) ** 2
    return max(call_s, key=lambda name: (score(alpha, queued_s[name], call_s[name], beta_s2), -call_s[name]))


class _Call(NamedTuple):
    query: int
    stage: str
    budget_s: Seconds
    ready_s: Seconds


class Replay:
    """Plays workflows that are over once more, on instances that serve some calls side by side, at known times.

    Parameters
    ----------
    past : sequence of Past
        The workflows.
    places : mapping of str to Place
        The instances.
    times : callable of (stage, pool) -> seconds
        What a call takes.
    """

    def __init__(self, past: Sequence[Past], places: Mapping[Id, Place], times: Times) -> None:
        self._past = past
        self._places = places
        pools = {place.pool for place in places.values()}
        stages = {stage for one in past for stage, _ in one.rounds}
        self._times = {(stage, pool): times(stage, pool) for stage in stages for pool in pools}
        self._average = {stage: sum(self._times[stage, pool] for pool in pools) / len(pools) for stage in stages}

    def play(self, alpha: float) -> Felt:
        """Return what all would have felt with this alpha."""
        self._alpha = alpha
        self._queued_s = dict.fromkeys(self._places, 0.0)
        self._waiting: dict[Id, list[_Call]] = {name: [] for name in self._places}
        self._free = {name: place.slots for name, place in self._places.items()}
        self._events: list[tuple[Seconds, int, int, Id, _Call | None]] = []
        self._num = 0
        self._round = [-1] * len(self._past)
        self._open = [0] * len(self._past)
        for number, one in enumerate(self._past):
            self._push(one.began_s, number, "", None)
        lasted = []
        while self._events:
            at_s, _, number, name, call = heapq.heappop(self._events)
            if call is not None:
                self._end(at_s, name, call)
            if not self._open[number]:
                one = self._past[number]
                self._round[number] += 1
                if self._round[number] < len(one.rounds):
                    self._release(at_s, number)
                else:
                    lasted.append((at_s - one.began_s) / one.slo_s)
        lasted.sort()
        return Felt(sum(x > 1 for x in lasted) / len(lasted), lasted[int(0.95 * (len(lasted) - 1))])

    def _release(self, now_s: Seconds, number: int) -> None:
        one, place = self._past[number], self._round[number]
        stage, num_calls = one.rounds[place]
        left_s = sum(self._average[later] for later, _ in one.rounds[place + 1 :])
        own_s = self._average[stage]
        budget_s = (one.slo_s - (now_s - one.began_s)) * own_s / (own_s + left_s)
        for _ in range(num_calls):
            call_s = {name: self._times[stage, where.pool] for name, where in self._places.items()}
            name = best_place(self._alpha, self._queued_s, call_s)
            self._queued_s[name] += call_s[name]
            self._waiting[name].append(_Call(number, stage, budget_s, now_s))
            self._open[number] += 1
            self._serve(now_s, name)

    def _serve(self, now_s: Seconds, name: Id) -> None:
        waiting, pool = self._waiting[name], self._places[name].pool
        while self._free[name] and waiting:
            call = max(waiting, key=lambda c: self._times[c.stage, pool] - c.budget_s + now_s - c.ready_s)
            waiting.remove(call)
            self._free[name] -= 1
            self._push(now_s + self._times[call.stage, pool], call.query, name, call)

    def _end(self, now_s: Seconds, name: Id, call: _Call) -> None:
        self._queued_s[name] = max(0.0, self._queued_s[name] - self._times[call.stage, self._places[name].pool])
        self._free[name] += 1
        self._open[call.query] -= 1
        self._serve(now_s, name)

    def _push(self, at_s: Seconds, number: int, name: Id, call: _Call | None) -> None:
        self._num += 1
        heapq.heappush(self._events, (at_s, self._num, number, name, call))


def tuned_alpha(past: Sequence[Past], places: Mapping[Id, Place], times: Times, grid: Sequence[float] = GRID) -> float:
    """Return the alpha with which the fewest of some workflows would have been late; of equals that of the lowest P95.

    Parameters
    ----------
    past : sequence of Past
        Workflows that are over, at least one.
    places : mapping of str to Place
        The instances.
    times : callable of (stage, pool) -> seconds
        What a call takes.
    grid : sequence of float
        What is tried, each in [0, 1]; tenths by default.
    """
    replay = Replay(past, places, times)
    return min(grid, key=replay.play)
