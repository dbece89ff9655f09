"""The times at which a policy asked to be woken."""

from __future__ import annotations

import heapq
import math
from itertools import count

from headway.core.actions import Wake
from headway.core.nouns import Seconds


class Alarms:
    """Pending wakes, earliest first; equal ones ring once."""

    def __init__(self) -> None:
        self._heap: list[tuple[Seconds, int, str]] = []
        self._pending: set[tuple[Seconds, str]] = set()
        self._order = count()

    @property
    def next_s(self) -> Seconds | None:
        """When the next one rings."""
        return self._heap[0][0] if self._heap else None

    def set(self, wake: Wake) -> None:
        """Ring at ``wake.at_s``, with its tag: never where that is infinite, and at once where it is no number."""
        at_s = -math.inf if math.isnan(wake.at_s) else wake.at_s
        key = (at_s, wake.tag)
        if key not in self._pending and at_s < math.inf:
            self._pending.add(key)
            heapq.heappush(self._heap, (at_s, next(self._order), wake.tag))

    def due(self, now_s: Seconds) -> list[str]:
        """Take off all that ring at `now_s` or before; returns their tags, in the order of their times."""
        rung: list[str] = []
        while self._heap and self._heap[0][0] <= now_s:
            at_s, _, tag = heapq.heappop(self._heap)
            self._pending.remove((at_s, tag))
            rung.append(tag)
        return rung
