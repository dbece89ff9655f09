"""Many job shops side by side, in which an agent chooses what starts next: the environment of shop/rl-cp-jssp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headway.core.errors import ConfigError, missing_extra
from headway.core.learning import Features, Question
from headway.policies.shop.problem import Problem
from headway.policies.shop.schedule import Schedule

try:
    import headway.policies.shop.rl_cp_jssp_kernel as kernel
    import headway.policies.shop.rl_cp_jssp_rounds_kernel as rounds
except ImportError as error:  # pragma: no cover - the development environment has it
    raise missing_extra("numba", "shop", "to play job shops quickly") from error

Ints = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Decide = Callable[[Features], Scores]
"""Returns scores [batch, rows + 1] for features; the last is the No-Op's."""
WINDOW, COLUMNS, NEVER = rounds.WINDOW, rounds.COLUMNS, kernel.NEVER
GREEDY, SAMPLE, FOLLOW, SCRIPT = rounds.GREEDY, rounds.SAMPLE, rounds.FOLLOW, rounds.SCRIPT


class Tables(NamedTuple):
    """Job shops as arrays, padded to equal sizes.

    Attributes
    ----------
    machine, duration, release : array of int, [shops, jobs, ops]
        Of each operation.
    num_ops : array of int, [shops, jobs]
        How many of them there are.
    downs : array of int, [shops, machines, spans, 2]
        When machines are down, by start; padded with empty spans at the end of time.
    begun : array of int, [shops, jobs, ops]
        When operations started that are under way already, -1 for others.
    """

    machine: Ints
    duration: Ints
    release: Ints
    num_ops: Ints
    downs: Ints
    begun: Ints


class Kept(NamedTuple):
    """The choices of some rounds: what was seen, what was legal, and what was chosen.

    Attributes
    ----------
    features : dict of str to array, [rounds, ...]
        What was seen at the beginning of each round.
    of_round, action, shop, turn : array of int, [choices]
        Of each choice: its round, the row chosen (the last is the No-Op), its shop, and how many choices were before it
        in that shop.
    legal : array of bool, [choices, rows + 1]
        What could be chosen.
    """

    features: Features
    of_round: Ints
    action: Ints
    shop: Ints
    turn: Ints
    legal: npt.NDArray[np.bool_]


def tables(problems: Sequence[Problem]) -> Tables:
    """Return job shops as arrays.

    Raises
    ------
    ConfigError
        When one is not a job shop.
    """
    for problem in problems:
        _check(problem)
    chains = [problem.chains or () for problem in problems]
    most_jobs = max(len(one) for one in chains)
    most_ops = max((len(chain) for one in chains for chain in one), default=0) or 1
    most_machines = max(problem.num_resources for problem in problems)
    most_downs = max(_most_downs(problem) for problem in problems)
    made = Tables(
        np.zeros((len(problems), most_jobs, most_ops), np.int64),
        np.zeros((len(problems), most_jobs, most_ops), np.int64),
        np.zeros((len(problems), most_jobs, most_ops), np.int64),
        np.zeros((len(problems), most_jobs), np.int64),
        np.full((len(problems), most_machines, most_downs, 2), NEVER, np.int64),
        np.full((len(problems), most_jobs, most_ops), -1, np.int64),
    )
    for place, problem in enumerate(problems):
        _fill(made, place, problem)
    return made


class Shops:
    """Job shops under way, each with its own choices.

    Parameters
    ----------
    found : Tables
        The shops; each at its start.
    """

    def __init__(self, found: Tables) -> None:
        self.tables = found
        num, num_jobs, num_ops = found.machine.shape
        self.starts = found.begun.copy()
        self.next_op, self.ready, self.est, self.limit = (np.zeros((num, num_jobs), np.int64) for _ in range(4))
        self.free = np.zeros((num, found.downs.shape[1]), np.int64)
        self.waiting = np.zeros((num, num_jobs), np.bool_)
        self.now = np.zeros(num, np.int64)
        self.legal = np.zeros((num, num_jobs + 1), np.bool_)
        self.over = np.zeros(num, np.bool_)
        self.told = np.zeros(num, np.int64)
        self.script = np.zeros((num, 8 * num_jobs * num_ops + 8), np.int64)
        work = np.where(np.arange(num_ops) < found.num_ops[:, :, None], found.duration, 0).sum((1, 2))
        self.scale = 2.0 * np.maximum(work / np.maximum(found.num_ops.sum(1), 1), 0.5)
        self._settle_what_is_begun()
        kernel.settle_all(self._shop, self._state, self.over)

    @property
    def makespans(self) -> Ints:
        """When the last operation of each shop ends, once it is over, [shops]."""
        return np.asarray(self.ready.max(1))

    def copy(self) -> Shops:
        """Return the same shops at the same moment."""
        other = object.__new__(Shops)
        kept = {name: value.copy() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        vars(other).update(vars(self) | kept)
        return other

    def run(
        self,
        decide: Decide,
        *,
        mode: int = GREEDY,
        rng: np.random.Generator | None = None,
        targets: Ints | None = None,
        most_told: int = 1 << 60,
        keep: list[Kept] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Choose until all shops are over.

        Parameters
        ----------
        decide : callable of (Features) -> scores
            The network, for all shops at once.
        mode : int
            GREEDY (the best score), SAMPLE (by the softmax), FOLLOW (do as schedules do) or SCRIPT (do as `script`
            says).
        rng : numpy.random.Generator or None
            For SAMPLE.
        targets : array of int, [shops, jobs, ops], or None
            For FOLLOW, when each operation starts.
        most_told : int
            No shop is told more choices than this, counted from its start.
        keep : list of Kept or None
            Gets what was seen and chosen, round by round.
        stop : callable of () -> bool or None
            Asked before each round whether to give up.
        """
        wanted = np.zeros((0, 0, 0), np.int64) if targets is None else targets
        while not (stop and stop()):
            active = np.flatnonzero(~self.over & (self.told < most_told))
            if not active.size:
                return
            rows, num, features = self._look(active)
            drawn = rng.random((active.size, features["legal"].shape[1] + 1)) if rng and mode == SAMPLE else _NO_DRAWS
            self._play(active, rows, num, features, decide(features), (mode, drawn, wanted, most_told), keep)

    def shifted(self, place: int) -> Ints:
        """Return the starts of a shop that is over with all operations moved as early as gaps allow, [jobs, ops]."""
        found = self.tables
        release = np.where(found.begun[place] < 0, found.release[place], found.begun[place])
        starts = np.where(found.begun[place] < 0, self.starts[place], found.begun[place])
        given = found.machine[place], found.duration[place], release, found.num_ops[place], found.downs[place]
        return np.asarray(kernel.left_shift(*given, starts))

    def question(self) -> Question:
        """Return the choice of the only shop as a question: actions are jobs, the last is the No-Op."""
        rows, num, features = self._look(np.zeros(1, np.int64))
        jobs = rows[0, : num[0]]
        return Question(spread(features, jobs, self.next_op.shape[1]), self.legal[0].copy())

    def tell(self, seen: Question, action: int) -> Question | None:
        """Take an action in the only shop; return the next question, or None when it is over.

        While what was seen still holds, the next question shows the same: see `play_round`.
        """
        moment = self.now[0]
        known = seen.features["legal"] > 0
        num_jobs = self.next_op.shape[1]
        room = kernel.room_of(self.free.shape[1])
        self.over[0] = kernel.act(0, action, self._shop, self._state, room) == kernel.OVER
        if self.over[0]:
            return None
        if action != num_jobs and self.now[0] == moment and not (self.legal[0, :-1] & ~known).any():
            return Question(seen.features, self.legal[0].copy())
        return self.question()

    @property
    def _shop(self) -> Any:
        return self.tables.machine, self.tables.duration, self.tables.release, self.tables.num_ops, self.tables.downs

    @property
    def _state(self) -> Any:
        return (
            self.next_op,
            self.ready,
            self.free,
            self.est,
            self.waiting,
            self.starts,
            self.now,
            self.legal,
            self.limit,
        )

    def _settle_what_is_begun(self) -> None:
        begun, found = self.tables.begun, self.tables
        for b, j, k in np.argwhere(begun >= 0):
            end = begun[b, j, k] + found.duration[b, j, k]
            self.next_op[b, j], self.ready[b, j] = k + 1, end
            self.free[b, found.machine[b, j, k]] = max(self.free[b, found.machine[b, j, k]], end)
        for b in range(begun.shape[0]):
            for j in range(begun.shape[1]):
                self.est[b, j] = kernel.earliest(b, j, self._shop, self._state)

    def _look(self, active: Ints) -> tuple[Ints, Ints, Features]:
        shape = (active.size, self.next_op.shape[1])
        rows, num = np.zeros(shape, np.int64), np.zeros(active.size, np.int64)
        ops = np.zeros((*shape, WINDOW, COLUMNS))
        valid, place = np.zeros((*shape, WINDOW), np.bool_), np.zeros((*shape, WINDOW), np.int64)
        upcoming = np.zeros((*shape, 2), np.int64)
        state, shop = self._state, self._shop
        most = rounds.observe_all(active, shop, state, self.scale, rows, ops, valid, upcoming, place, num)
        return rows, num, _features(*(one[:, :most] for one in (ops, valid, place, upcoming)))

    def _play(
        self, active: Ints, rows: Ints, num: Ints, features: Features, scores: Scores, how: Any, keep: list[Kept] | None
    ) -> None:
        width = scores.shape[1]
        most = active.size * width if keep is not None else 0
        kept = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros((most, width), np.bool_)
        mode, drawn, targets, most_told = how
        before = self.told.copy()
        scored = np.ascontiguousarray(scores, np.float64)
        given = (mode, drawn, targets, self.script, self.told, most_told, kept)
        count = rounds.play_round(active, self._shop, self._state, self.over, scored, rows, num, *given)
        if keep is not None:
            which = kept[0][:count]
            first = np.searchsorted(which, which)
            turn = before[active[which]] + np.arange(count) - first
            keep.append(Kept(features, which, kept[1][:count], active[which], turn, kept[2][:count]))


def repeated(found: Tables, times: int) -> Tables:
    """Return the first of some shops several times."""
    return Tables(*(np.repeat(array[:1], times, axis=0) for array in found))


def schedule_of(problem: Problem, starts: Ints) -> Schedule:
    """Return the starts [jobs, ops] of a shop as a schedule of its problem."""
    found = [0] * problem.num_tasks
    for job, chain in enumerate(problem.chains or ()):
        for place, task in enumerate(chain):
            found[task] = int(starts[job, place])
    return Schedule(tuple(found), (0,) * problem.num_tasks)


def spread(features: Features, jobs: Ints, num_jobs: int) -> Features:
    """Put the rows of a batch of one at the places of their jobs, without the axis of the batch."""
    made = {}
    for name, array in features.items():
        axes = 2 if name == "rivals" else 1
        whole = np.zeros((num_jobs,) * axes + array.shape[1 + axes :], array.dtype)
        whole[np.ix_(jobs, jobs) if axes == 2 else jobs] = (
            array[0][: jobs.size, : jobs.size] if axes == 2 else (array[0][: jobs.size])
        )
        made[name] = whole
    made["valid"][:, 0] = True
    made["rivals"] |= np.eye(num_jobs, dtype=np.bool_)
    return made


_NO_DRAWS = np.zeros((0, 0))


def _features(ops: Any, valid: Any, place: Any, upcoming: Any) -> Features:
    """Return what `forward` takes."""
    next_at, machine = upcoming[..., 0], upcoming[..., 1]
    hot = (np.arange(WINDOW) == next_at[..., None]).astype(np.float64)
    legal = (ops[..., 3] * hot).sum(-1)
    rivals = (machine[:, :, None] == machine[:, None, :]) | np.eye(machine.shape[1], dtype=np.bool_)
    valid = valid.copy()
    valid[..., 0] = True
    return {"ops": ops, "valid": valid, "place": place, "upcoming": hot, "rivals": rivals, "legal": legal}


def _check(problem: Problem) -> None:
    if problem.kind not in ("job shop", "flexible job shop", "flow shop", "single machine"):
        got = f"a {problem.kind}"
    elif problem.blocking or problem.permutation:
        got = "one whose jobs block machines" if problem.blocking else "a permutation flow shop"
    elif any(len(task.modes) > 1 for task in problem.tasks):
        got = "a flexible job shop"
    else:
        return
    raise ConfigError(f"shop/rl-cp-jssp: problem must be a job shop, got {got}. Use another solver.")


def _most_downs(problem: Problem) -> int:
    counts = [0] * problem.num_resources
    for down in problem.downtimes:
        counts[down.resource] += 1
    return max(counts, default=0)


def _fill(made: Tables, place: int, problem: Problem) -> None:
    for job, chain in enumerate(problem.chains or ()):
        made.num_ops[place, job] = len(chain)
        for k, number in enumerate(chain):
            task = problem.tasks[number]
            ((machine, _),) = task.modes[0].needs
            made.machine[place, job, k], made.duration[place, job, k] = machine, task.modes[0].duration
            made.release[place, job, k] = task.release
            made.begun[place, job, k] = -1 if task.fixed_start is None else task.fixed_start
    counts = [0] * problem.num_resources
    for down in sorted(problem.downtimes, key=lambda one: one.start):
        made.downs[place, down.resource, counts[down.resource]] = down.start, down.end
        counts[down.resource] += 1
