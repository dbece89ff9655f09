"""A constraint solver as the teacher of shop/rl-cp-jssp: it goes on from where a shop is."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from msgspec.structs import replace

from headway.core import catalogue
from headway.policies.shop.problem import Problem, Task
from headway.policies.shop.rl_cp_jssp_env import Ints, Shops, schedule_of
from headway.policies.shop.rl_cp_jssp_kernel import left_shift

SOLVER = "shop/cp-sat"


def finish(problem: Problem, shops: Shops, place: int, own: Ints, budget_s: float, rng: np.random.Generator) -> Ints:
    """Return the best starts [jobs, ops] that the solver finds from where a shop is, moved as early as they can be.

    Parameters
    ----------
    problem : Problem
        The shop's.
    shops : Shops
        Where it is under way.
    place : int
        Its number among them.
    own : array of int, [jobs, ops]
        How the policy went on: where the solver starts from.
    budget_s : float
        For the solver.
    rng : numpy.random.Generator
        For its seed.
    """
    left = remaining(problem, shops, place)
    result = _solver().solve(left, budget_s=budget_s, rng=rng, start=schedule_of(problem, own))
    found = own if result.schedule is None else starts_of(problem, result.schedule.starts, own)
    table = shops.tables
    release = table.release[place].copy()
    for job, chain in enumerate(problem.chains or ()):
        for op, number in enumerate(chain):
            task = left.tasks[number]
            release[job, op] = task.release if task.fixed_start is None else task.fixed_start
    given = table.machine[place], table.duration[place], release, table.num_ops[place], table.downs[place]
    return np.asarray(left_shift(*given, found))


def remaining(problem: Problem, shops: Shops, place: int) -> Problem:
    """Return the problem with what has been chosen fixed, and the rest no sooner than the shop would allow."""
    tasks: list[Task] = list(problem.tasks)
    for job, chain in enumerate(problem.chains or ()):
        next_op = int(shops.next_op[place, job])
        for op, number in enumerate(chain):
            if op < next_op:
                tasks[number] = replace(tasks[number], fixed_start=int(shops.starts[place, job, op]))
            elif op == next_op:
                tasks[number] = replace(tasks[number], release=int(shops.est[place, job]))
    return replace(problem, tasks=tuple(tasks))


def starts_of(problem: Problem, starts: tuple[int, ...], like: Ints) -> Ints:
    """Return starts by task as starts [jobs, ops]."""
    found = like.copy()
    for job, chain in enumerate(problem.chains or ()):
        found[job, : len(chain)] = [starts[number] for number in chain]
    return found


@functools.cache
def _solver() -> Any:
    return catalogue.load(SOLVER)(workers=1)
