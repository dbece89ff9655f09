"""Ask and tell: any policy of the family decides for machines that are real, or somebody else's."""

from __future__ import annotations

import copy
import heapq
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from headway.core import catalogue
from headway.core.actions import Action, Start, Wake
from headway.core.drivers import tell
from headway.core.errors import ConfigError, EngineError, unknown_name
from headway.core.events import Changed, Event, Refused, Woke
from headway.core.nouns import Id, Seconds
from headway.core.policy import Policy
from headway.core.report import Report
from headway.core.session import Session
from headway.core.writing import replacing
from headway.engines.shop.routes import Route, tasks_of
from headway.engines.shop.saved import VERSION, SavedShop, board_of, states_of
from headway.policies.shop.arriving import jobs_of, machines_of
from headway.policies.shop.board import ShopBoard, ShopView
from headway.policies.shop.nouns import ShopJob, ShopJobArrived, TaskDone, TaskReleased, TaskStopped, finished
from headway.policies.shop.problem import Problem
from headway.policies.shop.states import WAITING, MachineState, TaskState


class Expected(Struct, frozen=True):
    """A task as it is expected to run, in seconds since the start of the run."""

    task: Id
    machines: tuple[Id, ...]
    start_s: Seconds
    end_s: Seconds


class Shop:
    """A shop whose machines are real: `ask` says what to start now, the `tell_` methods say what happened.

    The policy is the one that plays in virtual time. Times are seconds since the start of the run: those of a clock,
    or those that each call is given as `at_s`. A start that has been decided is asked for until it is told.

    Parameters
    ----------
    problem : Problem
        The machines, and the jobs that are there from the start; more can be told later.
    policy : str, table or Policy
        Who decides: a catalogue id, a table of an id and parameters, or an object; ``"shop/dispatch"``, most work
        remaining first, by default.
    clock : callable of () -> float, or None
        Says what time it is; wall time since construction by default.
    seed : int
        Of the policy's random stream.

    Raises
    ------
    ConfigError, UnknownName
        When the problem cannot be played, or there is no such policy.

    Examples
    --------
    >>> from headway.policies.shop.making import job_shop
    >>> shop = Shop(job_shop("two", [[(0, 3), (1, 2)], [(1, 4), (0, 1)]]))
    >>> [(start.id, *start.on) for start in shop.ask(at_s=0.0)]
    [('J0.0', 'M0'), ('J1.0', 'M1')]
    >>> shop.tell_started("J0.0", at_s=0.0)
    >>> shop.tell_started("J1.0", at_s=0.5)
    >>> shop.tell_done("J0.0", at_s=3.0)
    >>> shop.ask(at_s=3.0)  # M1 is still busy
    []
    >>> shop.tell_down("M1", at_s=4.0)
    >>> shop.tell_up("M1", at_s=6.0)
    >>> [(one.task, one.start_s) for one in shop.plan()]
    [('J1.0', 0.5), ('J0.1', 6.5), ('J1.1', 6.5)]
    """

    _releases: list[tuple[Seconds, Id]]

    def __init__(
        self,
        problem: Problem,
        policy: str | dict[str, Any] | Policy[ShopView] = "shop/dispatch",
        *,
        clock: Callable[[], Seconds] | None = None,
        seed: int = 0,
    ) -> None:
        board = ShopBoard(machines_of(problem), downtimes=problem.downtimes, objective=problem.objective)
        self._begin(board, policy, clock, seed, time.time())
        for job in jobs_of(problem):
            self._let_in(job)

    # Asking -------------------------------------------------------------------------------------------------------

    def ask(self, *, at_s: Seconds | None = None) -> list[Start]:
        """Return what is to be started now, in order of decision: all that has not been told as started yet.

        Parameters
        ----------
        at_s : float or None
            The time, where it is given.
        """
        now_s = self._go_to(at_s)
        while self._wakes and self._wakes[0][0] <= now_s:
            self._told.append(Woke(at_s=now_s, tag=heapq.heappop(self._wakes)[1]))
        for task in [task for at, task in self._releases if at <= now_s]:
            self._board.release(task)
            self._told.append(TaskReleased(at_s=now_s, task=task))
        self._releases = [(at, task) for at, task in self._releases if at > now_s]
        while self._told:
            tell(self._session, self._told.popleft(), self._apply)
        return list(self._due.values())

    @property
    def next_s(self) -> Seconds | None:
        """When to ask again even if nothing is told until then; None for never."""
        times = [*(at for at, _ in self._wakes), *(at for at, _ in self._releases)]
        return min(times, default=None)

    @property
    def is_done(self) -> bool:
        """Whether no job is left."""
        return not self._board.jobs

    @property
    def view(self) -> ShopView:
        """What the policy sees."""
        return self._board

    def report(self) -> Report:
        """Sum up what went through so far."""
        return self._session.report()

    def plan(self) -> list[Expected]:
        """Return what is under way and what is expected to follow if nothing else happens, in order of start.

        The policy is asked ahead, on a copy; tasks take what is expected of them. A machine that is down comes back
        when its repair is expected to end.
        """
        return _played_ahead(self)

    # Telling ------------------------------------------------------------------------------------------------------

    def tell_started(self, task: Id, *, at_s: Seconds | None = None) -> None:
        """Tell that a task has started, as was asked."""
        if task not in self._due:
            raise EngineError(f"shop: {task} must have been asked for, it has not. Start what `ask` returns.")
        state = self._board.running[task]
        took_s = state.planned_s - state.start_s
        state.start_s = self._go_to(at_s)
        state.planned_s = state.start_s + took_s
        del self._due[task]

    def tell_done(self, task: Id, *, at_s: Seconds | None = None) -> None:
        """Tell that a task is complete."""
        state, now_s = self._running(task), self._go_to(at_s)
        self._due.pop(task, None)
        is_last = self._board.finish(state)
        done = TaskDone(at_s=now_s, task=task, machine=state.way.machine, start_s=state.start_s)
        self._told += [finished(state.job.job, now_s), done] if is_last else [done]

    def tell_stopped(self, task: Id, *, at_s: Seconds | None = None) -> None:
        """Tell that a task was taken off its machines before it was complete; it must be done from its start."""
        self._stop(self._running(task), self._go_to(at_s))

    def tell_refused(self, task: Id, why: str, *, at_s: Seconds | None = None) -> None:
        """Tell that a task that was asked for cannot be started; the policy decides anew."""
        state, now_s = self._running(task), self._go_to(at_s)
        del self._due[task]
        self._board.stop(state)
        self._told.append(Refused(at_s=now_s, action="Start", id=task, why=why))

    def tell_down(self, machine: Id, *, loses: bool = False, at_s: Seconds | None = None) -> None:
        """Tell that a machine cannot be used any more.

        Parameters
        ----------
        machine : str
            Which.
        loses : bool
            Whether what runs on it is lost and must be done from its start, anywhere; else it goes on when the machine
            is back.
        at_s : float or None
            The time, where it is given.
        """
        state, now_s = self._machine(machine), self._go_to(at_s)
        if state.is_up:
            waiting = [task for task in self._due if machine in self._due[task].on]
            halted = self._board.take_down(machine)
            self._told.append(Changed(at_s=now_s, resource=state.resource, up=False))
            for task in halted:
                if loses or task.id in waiting:
                    self._stop(task, now_s)

    def tell_up(self, machine: Id, *, at_s: Seconds | None = None) -> None:
        """Tell that a machine is back; what stood still on it goes on."""
        state, now_s = self._machine(machine), self._go_to(at_s)
        if not state.is_up:
            self._board.bring_up(machine)
            self._told.append(Changed(at_s=now_s, resource=state.resource, up=True))

    def tell_job(
        self,
        id: Id,
        route: Route,
        *,
        due_s: Seconds | None = None,
        weight: float = 1.0,
        at_s: Seconds | None = None,
    ) -> None:
        """Tell that a job has arrived.

        Parameters
        ----------
        id : str
            Its name, unlike that of any other job that is here.
        route : sequence
            For each of its tasks a (machine, duration) pair, or several of which one is to be chosen.
        due_s : float or None
            When it is due, in seconds since the start of the run.
        weight : float
            How much its lateness counts, >= 0.
        at_s : float or None
            The time, where it is given.
        """
        if id in self._board.jobs or not route:
            raise ConfigError(f"shop: job {id} must have a new name and at least one task. Mend what is told.")
        tasks = tasks_of(route, {machine.id: machine.place for machine in self._board.machines.values()})
        now_s = self._go_to(at_s)
        self._let_in(ShopJob(id=id, kind="job", arrival_s=now_s, tasks=tasks, due_s=due_s, weight=weight))

    # Keeping ------------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Write the state to a JSON file, which is replaced as a whole."""
        with replacing(Path(path)) as scratch:
            Path(scratch).write_bytes(msgspec.json.encode(self._saved()))

    @classmethod
    def restore(
        cls, path: Path | str, policy: Policy[ShopView] | None = None, *, clock: Callable[[], Seconds] | None = None
    ) -> Shop:
        """Go on from a file that `save` wrote; wall time has gone on meanwhile.

        Parameters
        ----------
        path : path
            The file.
        policy : Policy or None
            Who decides; the one that decided before, made anew, by default. Plans are made anew.
        clock : callable or None
            As for the constructor.

        Raises
        ------
        ConfigError
            When the file cannot be read, or does not say which policy it was.
        """
        try:
            saved = msgspec.json.decode(Path(path).read_bytes(), type=SavedShop)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{path}: must be a shop that was saved, got: {error}. Save it again.") from error
        if saved.headway_shop != VERSION:
            raise ConfigError(f"{path}: the version must be {VERSION}, got {saved.headway_shop}. Save it again.")
        if policy is None and not saved.policy:
            raise ConfigError(f"{path}: the policy must be given, for it had no id. Pass the object to `restore`.")
        return cls._restored(saved, policy or {"id": saved.policy, **saved.params}, clock)

    def _saved(self) -> SavedShop:
        return SavedShop(
            began_s=self._began_s,
            policy=self._named[0],
            params=self._named[1],
            seed=self._seed,
            due=list(self._due),
            wakes=sorted(self._wakes),
            **states_of(self._board),
        )

    @classmethod
    def _restored(
        cls, saved: SavedShop, policy: dict[str, Any] | Policy[ShopView], clock: Callable[[], Seconds] | None
    ) -> Shop:
        shop = cls.__new__(cls)
        shop._begin(board_of(saved), policy, clock, saved.seed, saved.began_s)
        shop._due = {task: Start(task, shop._board.running[task].way.on) for task in saved.due}
        shop._wakes = list(saved.wakes)
        late = [s for s in shop._board.tasks.values() if s.status == WAITING and s.release_s > saved.now_s]
        shop._releases = [(state.release_s, state.id) for state in late]
        shop._told.append(Woke(at_s=saved.now_s, tag="restored"))
        return shop

    # The books ----------------------------------------------------------------------------------------------------

    def _begin(
        self,
        board: ShopBoard,
        policy: str | dict[str, Any] | Policy[ShopView],
        clock: Callable[[], Seconds] | None,
        seed: int,
        began_s: float,
    ) -> None:
        named = {"id": policy} if isinstance(policy, str) else policy
        self._named: tuple[str, dict[str, Any]] = ("", {})
        if isinstance(named, dict):
            params = {key: value for key, value in named.items() if key != "id"}
            self._named = (str(named["id"]), params)
            named = catalogue.build(*self._named)
        self._board, self._seed, self._began_s = board, seed, began_s
        self._clock = clock or (lambda: time.time() - began_s)
        self._session: Session[ShopView] = Session(named, board, seed=seed)
        self._told: deque[Event] = deque()
        self._due: dict[Id, Start] = {}
        self._wakes: list[tuple[Seconds, str]] = []
        self._releases = []

    def _go_to(self, at_s: Seconds | None) -> Seconds:
        """Let it be the time given, or that of the clock; clocks may be set back, what has happened stays."""
        now_s = self._board.now_s
        if at_s is not None and at_s < now_s:
            raise EngineError(f"shop: times must not go back, got {at_s} after {now_s}. Tell what happens in order.")
        new_s = max(self._clock(), now_s) if at_s is None else at_s
        if new_s > now_s or not self._told:
            self._board.go_to(new_s)
        return new_s

    def _let_in(self, job: ShopJob) -> None:
        self._releases += [(task.release_s, task.id) for task in self._board.add(job)]
        self._told.append(ShopJobArrived(at_s=self._board.now_s, work=job))

    def _apply(self, action: Action) -> str | None:
        if isinstance(action, Wake):
            heapq.heappush(self._wakes, (action.at_s, action.tag))
            return None
        why = self._board.apply(action)
        if why is None and isinstance(action, Start):
            self._due[action.id] = action
        return why

    def _stop(self, state: TaskState, now_s: Seconds) -> None:
        self._due.pop(state.id, None)
        self._board.stop(state)
        stopped = TaskStopped(at_s=now_s, task=state.id, machine=state.way.machine, start_s=state.start_s)
        self._told.append(stopped)

    def _running(self, task: Id) -> TaskState:
        state = self._board.running.get(task)
        if state is None:
            raise EngineError(f"shop: {task} must be under way, it is not. Tell its start first.")
        return state

    def _machine(self, machine: Id) -> MachineState:
        if machine not in self._board.machines:
            raise unknown_name("shop: machine", machine, self._board.machines)
        return self._board.machines[machine]


def _played_ahead(shop: Shop) -> list[Expected]:
    """Ask and tell a copy until nothing more happens."""
    ahead = _copy_of(shop)
    board, names, found = ahead._board, list(ahead._board.machines), list[Expected]()
    backs = [(board.now_s + d.end, names[d.resource]) for d in board.problem().downtimes if not d.start]
    while True:
        for start in ahead.ask(at_s=board.now_s):
            ahead.tell_started(start.id, at_s=board.now_s)
        ends = [(max(s.planned_s, board.now_s), s) for s in board.running.values() if not s.num_down]
        ups = [(at_s, machine) for at_s, machine in backs if not board.machines[machine].is_up]
        times = [*(at_s for at_s, _ in ends), *(at_s for at_s, _ in ups)]
        times += [] if ahead.next_s is None else [max(ahead.next_s, board.now_s)]
        if not times:
            return sorted(found, key=lambda one: (one.start_s, one.task))
        now_s = min(times)
        for state in [state for at_s, state in ends if at_s <= now_s]:
            found.append(Expected(state.id, state.machines, state.start_s, now_s))
            ahead.tell_done(state.id, at_s=now_s)
        for machine in [machine for at_s, machine in ups if at_s <= now_s]:
            ahead.tell_up(machine, at_s=now_s)
        ahead._go_to(now_s)


def _copy_of(shop: Shop) -> Shop:
    """Return a shop that stands as this one, whose policy has the same plan in hand."""
    made = Shop._restored(shop._saved(), copy.deepcopy(shop._session.policy), lambda: 0.0)
    made._session.policy = copy.deepcopy(shop._session.policy)  # that in the session has been reset
    made._told.extendleft(reversed(shop._told))
    board, like = made._board, shop._board
    board.num_arrived, board.num_changes = like.num_arrived, like.num_changes
    board.turn = like.turn + 2  # no policy takes it for the next instant of the other board
    return made
