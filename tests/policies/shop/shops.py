"""Random problems of every kind, small enough to look at, for tests of planners."""

from __future__ import annotations

from hypothesis import strategies as st

from headway.policies.shop.making import flexible_job_shop, flow_shop, job_shop, project
from headway.policies.shop.problem import Downtime, Job, Mode, Problem, Task

FT06 = [
    [(2, 1), (0, 3), (1, 6), (3, 7), (5, 3), (4, 6)],
    [(1, 8), (2, 5), (4, 10), (5, 10), (0, 10), (3, 4)],
    [(2, 5), (3, 4), (5, 8), (0, 9), (1, 1), (4, 7)],
    [(1, 5), (0, 5), (2, 5), (3, 3), (4, 8), (5, 9)],
    [(2, 9), (1, 3), (4, 5), (5, 4), (0, 3), (3, 1)],
    [(1, 3), (3, 3), (5, 9), (0, 10), (4, 4), (2, 1)],
]


@st.composite
def job_shops(draw: st.DrawFn, *, max_jobs: int = 5, disturbed: bool = True, least: int = 0) -> Problem:
    """Job shops with any routes, some machines twice in a route; with releases and downtimes where `disturbed`."""
    num_machines = draw(st.integers(1, 4))
    pair = st.tuples(st.integers(0, num_machines - 1), st.integers(least, 9))
    rows = draw(st.lists(st.lists(pair, min_size=1, max_size=4), min_size=1, max_size=max_jobs))
    shop = job_shop("some", rows, capacity=(1,) * num_machines)
    return _disturbed(draw, shop) if disturbed else shop


@st.composite
def flexible_shops(draw: st.DrawFn, *, disturbed: bool = True) -> Problem:
    """Flexible job shops."""
    num_machines = draw(st.integers(1, 3))
    machine = st.integers(0, num_machines - 1)
    ways = st.lists(st.tuples(machine, st.integers(0, 9)), min_size=1, max_size=3, unique_by=lambda way: way[0])
    rows = draw(st.lists(st.lists(ways, min_size=1, max_size=3), min_size=1, max_size=4))
    shop = flexible_job_shop("some", rows, capacity=(1,) * num_machines)
    return _disturbed(draw, shop) if disturbed else shop


@st.composite
def flow_shops(draw: st.DrawFn, *, permutation: bool = True) -> Problem:
    """Flow shops in which every machine takes the jobs in one order."""
    num_machines = draw(st.integers(1, 4))
    row = st.lists(st.integers(0, 9), min_size=num_machines, max_size=num_machines)
    return flow_shop("some", draw(st.lists(row, min_size=1, max_size=6)), permutation=permutation)


@st.composite
def projects(draw: st.DrawFn, *, disturbed: bool = True) -> Problem:
    """Projects with one or two resources, some with modes."""
    num, capacity = draw(st.integers(1, 8)), draw(st.lists(st.integers(1, 4), min_size=1, max_size=2))
    durations = draw(st.lists(st.integers(0, 6), min_size=num, max_size=num))
    needs = [[draw(st.integers(0, most)) for most in capacity] for _ in range(num)]
    successors = [sorted(draw(st.sets(st.integers(one + 1, num - 1), max_size=2))) if one + 1 < num else []
                  for one in range(num)]  # fmt: skip
    plain = project("some", durations, needs, successors, capacity)
    if draw(st.booleans()):
        modes = [(*task.modes, Mode(task.modes[0].duration + 2, ())) for task in plain.tasks]
        plain = _with(plain, tuple(_task(task, modes=two) for task, two in zip(plain.tasks, modes, strict=True)))
    return _disturbed(draw, plain) if disturbed else plain


@st.composite
def blocking_shops(draw: st.DrawFn) -> Problem:
    """Job shops without room between machines, with and without swaps."""
    rows = draw(st.lists(st.permutations([0, 1, 2]), min_size=1, max_size=4))
    times = [[(machine, draw(st.integers(1, 9))) for machine in row] for row in rows]
    return job_shop("some", times, capacity=(1, 1, 1), blocking=True, swap=draw(st.booleans()))


def taillard_flow_shop(num_jobs: int, num_machines: int, seed: int) -> Problem:
    """One of Taillard's flow shops, drawn by his generator."""
    times = [[0] * num_machines for _ in range(num_jobs)]
    for machine in range(num_machines):
        for job in range(num_jobs):
            seed = seed * 16807 % 2147483647
            times[job][machine] = 1 + seed * 99 // 2147483647
    return flow_shop("drawn", times, permutation=True)


def any_problem() -> st.SearchStrategy[Problem]:
    """All kinds."""
    return st.one_of(job_shops(), flexible_shops(), flow_shops(), projects(), blocking_shops())


def _disturbed(draw: st.DrawFn, problem: Problem) -> Problem:
    """Add releases and downtimes to some."""
    if not draw(st.booleans()):
        return problem
    tasks = tuple(_task(task, release=draw(st.integers(0, 8))) for task in problem.tasks)
    resource = st.integers(0, problem.num_resources - 1)
    spans = draw(st.lists(st.tuples(resource, st.integers(0, 12), st.integers(1, 6)), max_size=3))
    downtimes = tuple(Downtime(one, start, start + length) for one, start, length in spans)
    return _with(problem, tasks, downtimes)


def _with(problem: Problem, tasks: tuple[Task, ...], downtimes: tuple[Downtime, ...] = ()) -> Problem:
    return Problem(
        name=problem.name, tasks=tasks, jobs=problem.jobs, capacity=problem.capacity, objective=problem.objective,
        blocking=problem.blocking, swap=problem.swap, permutation=problem.permutation, downtimes=downtimes,
    )  # fmt: skip


def _task(task: Task, *, modes: tuple[Mode, ...] = (), release: int = 0) -> Task:
    return Task(modes or task.modes, job=task.job, after=task.after, release=release or task.release)


def due(problem: Problem, slack: float, objective: str = "total_tardiness") -> Problem:
    """Return a problem whose jobs are due after `slack` times their work."""
    work = [0.0] * len(problem.jobs)
    for task in problem.tasks:
        work[task.job] += task.modes[0].duration
    jobs = tuple(Job(due=int(slack * one), weight=1.0 + number) for number, one in enumerate(work))
    return Problem(
        name=problem.name, tasks=problem.tasks, jobs=jobs, capacity=problem.capacity,
        objective=objective,  # type: ignore[arg-type]
        permutation=problem.permutation,
    )  # fmt: skip
