"""What an offloaded fine-tuning did, in virtual or in real time: operations with their times and bytes."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from msgspec import Struct

from headway.core.nouns import Id, Seconds
from headway.policies.tuning.lsp_offload_nouns import Lane, Op


class Ran(Struct, frozen=True):
    """One operation that ran, from `start_s` to `end_s`; `num_bytes` went over its link."""

    op: Op
    start_s: Seconds
    end_s: Seconds
    num_bytes: int = 0


class OffloadLog:
    """Keeps what ran."""

    def __init__(self) -> None:
        self.ran: list[Ran] = []
        self.num_bytes: Counter[Lane] = Counter()

    def add(self, ran: Ran) -> None:
        """Keep one operation."""
        self.ran.append(ran)
        self.num_bytes[ran.op.lane] += ran.num_bytes

    def num_steps(self, job: Id) -> int:
        """How many steps a job began."""
        return len(self._starts_s(job))

    def step_s(self, job: Id) -> list[Seconds]:
        """Return how long each step took but the last: from its first forward pass to that of the next step."""
        starts_s = self._starts_s(job)
        return [after - before for before, after in pairwise(starts_s)]

    def busy_s(self, lane: Lane) -> Seconds:
        """Return how long a lane was busy, in seconds."""
        return sum(ran.end_s - ran.start_s for ran in self.ran if ran.op.lane == lane)

    def learning_s(self) -> Seconds:
        """Return how long projectors were checked and learnt, in seconds."""
        return sum(ran.end_s - ran.start_s for ran in self.ran if ran.op.what in ("check", "learn"))

    def _starts_s(self, job: Id) -> list[Seconds]:
        firsts = [one for one in self.ran if one.op.what == "forward" and one.op.layer == 0]
        return [one.start_s for one in firsts if one.op.job == job]
