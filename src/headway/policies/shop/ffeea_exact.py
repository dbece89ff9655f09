"""Link planning as a constraint program: optional intervals, proven bounds; for some hundreds of tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from msgspec import Struct

from headway.core.nouns import Id, Seconds
from headway.numerics import cp
from headway.policies.shop.ffeea_nouns import Link, LinkProblem, LinkTask, Window, link_s

MOST_SPANS = 30
"""Of each antenna about so many beginnings and ends of spans are looked at."""


class Exact(Struct, frozen=True, kw_only=True):
    """What a constraint program came to.

    Parameters
    ----------
    links : tuple of Link
        The best found, those of the start where nothing better was; empty when there are none.
    link_s : int
        How long they last in all.
    bound_s : float
        No links last longer.
    status : str
        ``"optimal"``, ``"feasible"`` or ``"unknown"``.
    """

    links: tuple[Link, ...]
    link_s: int
    bound_s: float
    status: str


class _Choice(Struct):
    """A window that a task may use, as variables."""

    task: LinkTask
    window: Window
    is_used: Any
    start: Any
    end: Any
    length: Any


def exact(
    problem: LinkProblem,
    *,
    budget_s: Seconds,
    workers: int = 1,
    seed: int = 0,
    start: Sequence[Link] = (),
) -> Exact:
    """Plan links, and prove how much better a plan could be.

    Parameters
    ----------
    problem : LinkProblem
        What to plan.
    budget_s : float
        Seconds of computing, > 0.
    workers : int
        Threads, >= 0; 0 for as many as there are cores.
    seed : int
        Of the solver, >= 0.
    start : sequence of Link
        Links to begin with, which keep every rule.

    Raises
    ------
    MissingExtra
        When OR-Tools is not installed.
    """
    model = cp.new_model()
    choices = [_choice(model, problem, task, window) for task in problem.tasks for window in _usable(problem, task)]
    by_task: dict[Id, list[_Choice]] = defaultdict(list)
    for choice in choices:
        by_task[choice.task.id].append(choice)
    for several in by_task.values():
        model.add_at_most_one([choice.is_used for choice in several])
    _keep_antennas(model, problem, choices)
    if problem.switch_s:
        _keep_feeds(model, problem, choices)
    model.maximize(sum(choice.length for choice in choices))
    _hint(model, choices, start)
    wanted = [variable for choice in choices for variable in (choice.is_used, choice.start, choice.end)]
    outcome = cp.solve(model, wanted, budget_s=budget_s, workers=workers, seed=seed)
    links = max(_links(choices, outcome.values), tuple(start), key=link_s)
    is_proven = outcome.bound is not None and outcome.bound >= link_s(links)  # a search cut short may say anything
    bound = min(outcome.bound if is_proven and outcome.bound is not None else problem.most_s, problem.most_s)
    status = "feasible" if links and outcome.status == "unknown" else outcome.status
    return Exact(links=links, link_s=link_s(links), bound_s=float(bound), status=status)


def _usable(problem: LinkProblem, task: LinkTask) -> list[Window]:
    begin = problem.now_s + task.setup_s
    return [one for one in task.windows if one.end_s - max(one.start_s, begin) >= task.min_s]


def _choice(model: Any, problem: LinkProblem, task: LinkTask, window: Window) -> _Choice:
    name = task.id
    first = max(window.start_s, problem.now_s + task.setup_s)
    is_used = model.new_bool_var(name)
    start = model.new_int_var(first, window.end_s, name)
    end = model.new_int_var(first, window.end_s, name)
    length = model.new_int_var(0, min(task.max_s, window.end_s - first), name)
    model.add(end == start + length)
    model.add(length >= task.min_s).only_enforce_if(is_used)
    model.add(length == 0).only_enforce_if(is_used.negated())
    return _Choice(task, window, is_used, start, end, length)


def _keep_antennas(model: Any, problem: LinkProblem, choices: list[_Choice]) -> None:
    use: dict[Id, list[Any]] = defaultdict(list)
    for antenna, spans in problem.taken_spans().items():
        use[antenna] += [model.new_fixed_size_interval_var(start, end - start, "taken") for start, end in spans]
    for choice in choices:
        task = choice.task
        interval = model.new_optional_interval_var(
            choice.start - task.setup_s,
            choice.length + task.setup_s + task.teardown_s,
            choice.end + task.teardown_s,
            choice.is_used,
            task.id,
        )
        for antenna in choice.window.antennas:
            use[antenna].append(interval)
    for antenna, intervals in use.items():
        model.add_no_overlap(intervals)
        _keep_spans(model, [choice for choice in choices if antenna in choice.window.antennas])


def _keep_spans(model: Any, choices: list[_Choice]) -> None:
    """Say what no overlap implies and a relaxation does not see: links within a span have no more room than that.

    So have setups and teardowns, but for the setup of the first and the teardown of the last, which may stick out.
    """
    starts, ends = (
        _some(sorted({getattr(choice.window, side) for choice in choices})) for side in ("start_s", "end_s")
    )
    for first in starts:
        for last in ends:
            inside = [one for one in choices if first <= one.window.start_s and one.window.end_s <= last]
            around = [one.task.setup_s + one.task.teardown_s for one in inside]
            if len(inside) > 1 and sum(one.task.max_s for one in inside) > last - first:
                needed = sum(one.length + extra * one.is_used for one, extra in zip(inside, around, strict=True))
                sticks_out = max(one.task.setup_s for one in inside) + max(one.task.teardown_s for one in inside)
                model.add(needed <= last - first + sticks_out)


def _some(times: list[int]) -> list[int]:
    """Return about so many of sorted times, evenly."""
    return times[:: max(len(times) // MOST_SPANS, 1)]


def _keep_feeds(model: Any, problem: LinkProblem, choices: list[_Choice]) -> None:
    """Keep links of a satellite apart, by as much as switching takes from one's mode to the other's."""
    by_satellite: dict[Id, list[_Choice]] = defaultdict(list)
    for choice in choices:
        by_satellite[choice.task.satellite].append(choice)
    for one in problem.fed:
        for choice in by_satellite[one.satellite]:
            _apart(model, problem, choice, (one.start_s, one.end_s, one.mode))
    for several in by_satellite.values():
        for choice, other in combinations(several, 2):
            if choice.task.id != other.task.id:
                _either(model, problem, choice, other)


def _either(model: Any, problem: LinkProblem, one: _Choice, other: _Choice) -> None:
    there = problem.switch_s[one.task.mode][other.task.mode]
    back = problem.switch_s[other.task.mode][one.task.mode]
    if one.window.end_s + there <= other.window.start_s or other.window.end_s + back <= one.window.start_s:
        return
    is_first, both = model.new_bool_var("first"), [one.is_used, other.is_used]
    model.add(one.end + there <= other.start).only_enforce_if([*both, is_first])
    model.add(other.end + back <= one.start).only_enforce_if([*both, is_first.negated()])


def _apart(model: Any, problem: LinkProblem, choice: _Choice, fed: tuple[int, int, int]) -> None:
    start, end, mode = fed
    is_after = model.new_bool_var("after")
    after, before = end + problem.switch_s[mode][choice.task.mode], start - problem.switch_s[choice.task.mode][mode]
    model.add(choice.start >= after).only_enforce_if([choice.is_used, is_after])
    model.add(choice.end <= before).only_enforce_if([choice.is_used, is_after.negated()])


def _hint(model: Any, choices: list[_Choice], start: Sequence[Link]) -> None:
    known = {link.task: link for link in start}
    for choice in choices:
        link, window = known.get(choice.task.id), choice.window
        is_here = (
            link is not None
            and link.antennas == window.antennas
            and window.start_s <= link.start_s
            and link.end_s <= window.end_s
        )
        if known:
            model.add_hint(choice.is_used, int(is_here))
        if is_here and link is not None:
            model.add_hint(choice.start, link.start_s)
            model.add_hint(choice.length, link.end_s - link.start_s)


def _links(choices: list[_Choice], values: Sequence[int]) -> tuple[Link, ...]:
    found = []
    for n, choice in enumerate(choices if values else ()):
        is_used, start, end = values[3 * n : 3 * n + 3]
        if is_used:
            found.append(Link(choice.task.id, choice.window.antennas, start, end))
    return tuple(found)
