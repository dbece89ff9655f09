"""Whether jobs on blocking machines can move one after another where several move at one instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from headway.policies.shop.problem import Problem


class Stays(Struct, frozen=True):
    """Who is where, and until when: a schedule of a blocking problem.

    Parameters
    ----------
    starts, leaves, modes : sequence of int
        By task.
    """

    starts: Sequence[int]
    leaves: Sequence[int]
    modes: Sequence[int]

    def needs(self, problem: Problem, task: int) -> Mapping[int, int]:
        """Return what a task holds of each resource; nothing when it passes through at once."""
        if self.leaves[task] <= self.starts[task]:
            return {}
        found: dict[int, int] = defaultdict(int)
        for resource, amount in problem.tasks[task].modes[self.modes[task]].needs:
            found[resource] += amount
        return found


def circles(problem: Problem, stays: Stays) -> Iterator[str]:
    """Yield a sentence for each instant at which jobs wait in a circle for each other's machines."""
    moves: dict[int, list[int]] = defaultdict(list)
    for number, start in enumerate(stays.starts):
        moves[start].append(number)
    for at, moving in sorted(moves.items()):
        if len(moving) > 1:
            left = _stuck(problem, stays, at, moving)
            if left:
                names = ", ".join(problem.task_name(number) for number in sorted(left))
                yield f"at {at} these wait in a circle for each other's machines: {names}"


def _stuck(problem: Problem, stays: Stays, at: int, moving: list[int]) -> frozenset[int]:
    """Return the moves that are left when no order makes all of them; empty when one does."""
    everything = frozenset(moving)
    scene = _Scene(problem, stays, at, everything)
    waiting, seen, best = [frozenset[int]()], {frozenset[int]()}, everything
    while waiting:
        done = waiting.pop()
        if len(everything - done) < len(best):
            best = everything - done
        if done == everything:
            break
        possible = [one for one in sorted(everything - done) if scene.can_move(one, done)]
        for one in possible if scene.order_matters else possible[:1]:
            following = done | {one}
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return best


class _Scene:
    """One instant of a schedule at which several tasks start."""

    def __init__(self, problem: Problem, stays: Stays, at: int, moving: frozenset[int]) -> None:
        self._problem = problem
        self._stays = stays
        # With machines of capacity 1 each freed place is for one job alone, so no move can take another's place.
        self.order_matters = any(capacity > 1 for capacity in problem.capacity)
        self._before = {one: [before for before in problem.tasks[one].after if before in moving] for one in moving}
        self._leaving: dict[int, frozenset[int]] = {}
        self._room = dict(enumerate(problem.capacity))
        for number, (start, leave) in enumerate(zip(stays.starts, stays.leaves, strict=True)):
            movers = frozenset(one for one in moving if number in problem.tasks[one].after)
            if start < at == leave and movers:
                self._leaving[number] = movers
            elif start < at < leave:
                self._take(self._room, number)

    def can_move(self, one: int, done: frozenset[int]) -> bool:
        """Say whether a move finds room, when those in `done` have been made."""
        if any(before not in done for before in self._before[one]):
            return False
        room, made = dict(self._room), done | {one}
        for number, movers in self._leaving.items():
            if not movers <= made:
                self._take(room, number)
        for number in made:
            self._take(room, number)
        return all(left >= 0 for left in room.values())

    def _take(self, room: dict[int, int], number: int) -> None:
        for resource, amount in self._stays.needs(self._problem, number).items():
            room[resource] -= amount
