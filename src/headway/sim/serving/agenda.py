"""What is to happen, by time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any

from headway.core.events import Event
from headway.core.nouns import Seconds

NEWS, STEP_END, WAKE = range(3)
"""The order of what happens at one instant."""

Happening = Callable[[], Iterator[Event]]
Entry = list[Any]
"""Time, rank, number, and what happens: None once it is called off."""


class Agenda:
    """A heap of happenings: by time, then by rank, then in the order in which they were asked for.

    Attributes
    ----------
    num_pending : int
        How many are to come, wake-ups apart.
    """

    def __init__(self) -> None:
        self.num_pending = 0
        self._heap: list[Entry] = []
        self._number = 0

    def add(self, at_s: Seconds, rank: int, happening: Happening) -> Entry:
        """Note a happening."""
        self._number += 1
        entry: Entry = [at_s, rank, self._number, happening]
        heapq.heappush(self._heap, entry)
        if rank != WAKE:
            self.num_pending += 1
        return entry

    def call_off(self, entry: Entry) -> None:
        """Take back what has not happened yet."""
        if entry[3] is not None:
            entry[3] = None
            if entry[1] != WAKE:
                self.num_pending -= 1

    def next_s(self) -> Seconds:
        """When the next happens, infinity when nothing will."""
        heap = self._heap
        while heap and heap[0][3] is None:
            heapq.heappop(heap)
        return heap[0][0] if heap else float("inf")

    def pop(self) -> Entry:
        """Take out the next; there must be one."""
        entry = heapq.heappop(self._heap)
        while entry[3] is None:
            entry = heapq.heappop(self._heap)
        if entry[1] != WAKE:
            self.num_pending -= 1
        return entry

    @property
    def is_empty(self) -> bool:
        """Whether nothing will happen."""
        return self.next_s() == float("inf")
