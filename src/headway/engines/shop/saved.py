"""The state of a shop as data, and a board that is brought back to it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from headway.core.actions import Start
from headway.core.errors import ConfigError
from headway.core.nouns import Id, Resource, Seconds
from headway.policies.shop.board import ShopBoard
from headway.policies.shop.nouns import ShopJob
from headway.policies.shop.problem import Downtime, Objective
from headway.policies.shop.states import DONE, READY, TaskState

VERSION = 1


class SavedRun(Struct, frozen=True, kw_only=True):
    """A task under way: in which mode, since when, until when as expected, and how it stands still if it does."""

    mode: int
    start_s: Seconds
    planned_s: Seconds
    num_down: int = 0
    paused_s: Seconds = 0.0


class SavedShop(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a shop must know to go on after its process has ended.

    Parameters
    ----------
    headway_shop : int
        Version of the format; 1.
    began_s : float
        When the run began, in seconds since the epoch; nonsense where times are given.
    now_s : float
        When it was saved, in seconds since the start of the run.
    policy : str
        Catalogue id of the policy; empty when it was given as an object.
    params : dict of str to object
        Its parameters.
    seed : int
        Of the policy's random stream.
    machines : list of Resource
        All of them.
    down : dict of str to float
        Machines that are down, and since when.
    downtimes : list of Downtime
        When machines will be away as everybody knows.
    objective : str
        What plans are to make small.
    jobs : list of ShopJob
        Jobs that are here and not finished.
    done : list of str
        Their tasks that are complete.
    running : dict of str to SavedRun
        Their tasks under way, those that are only asked for included.
    ready : dict of str to float
        Their tasks that could begin, in order, and since when.
    due : list of str
        Tasks whose start is asked for, and of which nobody has told that they have started.
    wakes : list of (float, str)
        When the policy wants to be asked again, and why.
    """

    headway_shop: int = VERSION
    began_s: float
    now_s: Seconds
    policy: str = ""
    params: dict[str, Any] = {}
    seed: int = 0
    machines: list[Resource]
    down: dict[Id, Seconds] = {}
    downtimes: list[Downtime] = []
    objective: Objective = "makespan"
    jobs: list[ShopJob] = []
    done: list[Id] = []
    running: dict[Id, SavedRun] = {}
    ready: dict[Id, Seconds] = {}
    due: list[Id] = []
    wakes: list[tuple[Seconds, str]] = []


def states_of(board: ShopBoard) -> dict[str, Any]:
    """Return the fields of `SavedShop` that say how a board stands."""
    ready = sorted((s for s in board.tasks.values() if s.status == READY), key=lambda s: s.options[0].number)
    return {
        "now_s": board.now_s,
        "machines": [machine.resource for machine in board.machines.values()],
        "down": {machine.id: machine.down_since_s for machine in board.machines.values() if not machine.is_up},
        "downtimes": list(board.downtimes),
        "objective": board.objective,
        "jobs": [state.job for state in board.jobs.values()],
        "done": [state.id for state in board.tasks.values() if state.status == DONE],
        "running": {state.id: _run_of(state) for state in board.running.values()},
        "ready": {state.id: state.options[0].ready_since_s for state in ready},
    }


def _run_of(state: TaskState) -> SavedRun:
    return SavedRun(
        mode=state.mode,
        start_s=state.start_s,
        planned_s=state.planned_s,
        num_down=state.num_down,
        paused_s=state.paused_s,
    )


def board_of(saved: SavedShop) -> ShopBoard:
    """Make a board that stands as the saved one stood."""
    board = ShopBoard(saved.machines, downtimes=saved.downtimes, objective=saved.objective)
    board.go_to(saved.now_s)
    for job in saved.jobs:
        board.add(job)
    done = set(saved.done)
    while done:  # in an order in which every task finds those before it complete
        ready = [id_ for id_ in saved.done if id_ in done and board.tasks[id_].status == READY]
        if not ready:
            raise ConfigError(f"shop: tasks that are done must follow others that are, got {min(done)}. Save it again.")
        for id_ in ready:
            _begin(board, board.tasks[id_], 0)
            board.finish(board.tasks[id_])
            done.discard(id_)
    for id_, run in saved.running.items():
        _begin(board, board.tasks[id_], run.mode)
    for machine, since_s in saved.down.items():
        board.take_down(machine)
        board.machines[machine].down_since_s = since_s
    for id_, run in saved.running.items():
        state = board.tasks[id_]
        state.start_s, state.planned_s = run.start_s, run.planned_s
        state.num_down, state.paused_s = run.num_down, run.paused_s
    _put_in_order(board, saved)
    board.go_to(saved.now_s)
    return board


def _begin(board: ShopBoard, state: TaskState, mode: int) -> None:
    why = board.start(Start(state.id, state.ways[mode].on))
    if why is not None:
        raise ConfigError(f"shop: {state.id} must be able to run as it was saved, got: {why}. Save it again.")


def _put_in_order(board: ShopBoard, saved: SavedShop) -> None:
    """Let queues be in the order in which tasks became ready; those released at this very instant are last."""
    released = {s.id: saved.now_s for s in board.tasks.values() if s.status == READY and s.id not in saved.ready}
    for number, (id_, since_s) in enumerate({**saved.ready, **released}.items()):
        for option in board.tasks[id_].options:
            option.number, option.ready_since_s = number, since_s
    for machine in board.machines.values():
        queue = sorted(machine.queue.items(), key=lambda entry: (entry[1].number, entry[1].mode))
        machine.queue.clear()
        machine.queue.update(queue)
