"""Priorities of the tasks of a project, from the network alone; lower is sooner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headway.policies.shop.checking import in_order
from headway.policies.shop.problem import Problem


class Network:
    """What rules of projects look at.

    Parameters
    ----------
    problem : Problem
        Theirs.
    """

    def __init__(self, problem: Problem) -> None:
        self.order = in_order(problem)
        self.duration = [min(mode.duration for mode in task.modes) for task in problem.tasks]
        self.after: list[list[int]] = [[] for _ in problem.tasks]
        for number, task in enumerate(problem.tasks):
            for before in task.after:
                self.after[before].append(number)
        self.start = self._starts(problem)
        self.latest_end = self._latest_ends(problem)

    def _starts(self, problem: Problem) -> list[int]:
        found = [task.release for task in problem.tasks]
        for number in self.order:
            for later in self.after[number]:
                found[later] = max(found[later], found[number] + self.duration[number])
        return found

    def _latest_ends(self, problem: Problem) -> list[int]:
        """Return when each task must end for its job to be on time, or, without due times, for the whole."""
        last = max((start + length for start, length in zip(self.start, self.duration, strict=True)), default=0)
        dues = [job.due if job.due is not None else job.deadline for job in problem.jobs]
        if problem.objective in ("makespan", "total_flow_time"):
            dues = [job.deadline for job in problem.jobs]
        found = [last if (due := dues[task.job]) is None else due for task in problem.tasks]
        for number in reversed(self.order):
            for later in self.after[number]:
                found[number] = min(found[number], found[later] - self.duration[later])
        return found

    def successors(self) -> list[int]:
        """Return how many tasks must come after each."""
        reached: list[set[int]] = [set() for _ in self.after]
        for number in reversed(self.order):
            for later in self.after[number]:
                reached[number] |= {later} | reached[later]
        return [len(one) for one in reached]


RULES: Mapping[str, Callable[[Network], list[float]]] = {
    "lft": lambda net: [float(end) for end in net.latest_end],
    "lst": lambda net: [float(end - length) for end, length in zip(net.latest_end, net.duration, strict=True)],
    "mts": lambda net: [-float(num) for num in net.successors()],
    "grpw": lambda net: [
        -float(length + sum(net.duration[later] for later in after))
        for length, after in zip(net.duration, net.after, strict=True)
    ],
    "spt": lambda net: [float(length) for length in net.duration],
    "est": lambda net: [float(start) for start in net.start],
}
"""Latest finish and start; most total successors; greatest rank positional weight; shortest; earliest start."""
