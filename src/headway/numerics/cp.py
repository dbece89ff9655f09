"""Constraint programs over whole numbers: a thin front end of CP-SAT.

`new_model` hands out CP-SAT's own model, which says by itself what can be said; `solve` adds what its solver lacks: one
call with a time budget, callbacks as plain functions, and an outcome as data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from headway.core.errors import ConfigError, missing_extra

Status: TypeAlias = Literal["optimal", "feasible", "infeasible", "unknown"]
Setting: TypeAlias = bool | int | float | str | list[str]


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a model.

    Parameters
    ----------
    status : str
        ``"optimal"`` (proven, or within the gap asked for), ``"feasible"``, ``"infeasible"`` or ``"unknown"``.
    values : tuple of int
        Of the variables asked for, in the best solution; empty when there is none.
    objective, bound : float or None
        Of the best solution, and proven of all; None for a model without an objective, or when there is none yet.
    conflict : tuple of int
        Places of assumptions that cannot all hold; empty when it is feasible or nobody knows.
    took_s : float
        Seconds of computing.
    """

    status: Status
    values: tuple[int, ...] = ()
    objective: float | None = None
    bound: float | None = None
    conflict: tuple[int, ...] = ()
    took_s: float = 0.0


def new_model() -> Any:
    """Return an empty model (`ortools.sat.python.cp_model.CpModel`).

    Raises
    ------
    MissingExtra
        When OR-Tools is not installed.
    """
    return ortools().CpModel()


def ortools() -> Any:
    """Return `ortools.sat.python.cp_model`, loaded at first use.

    Raises
    ------
    MissingExtra
        When OR-Tools is not installed.
    """
    try:
        return import_module("ortools.sat.python.cp_model")
    except ImportError as error:
        raise missing_extra("ortools", "shop", "to solve exactly") from error


def solve(
    model: Any,
    wanted: Sequence[Any] = (),
    *,
    budget_s: float,
    workers: int = 0,
    seed: int = 0,
    gap_frac: float = 0.0,
    assumptions: Sequence[Any] = (),
    settings: Mapping[str, Setting] | None = None,
    on_solution: Callable[[float, float], None] | None = None,
    on_bound: Callable[[float], None] | None = None,
) -> Outcome:
    """Solve a model.

    Parameters
    ----------
    model : CpModel
        From `new_model`.
    wanted : sequence of variables
        Whose values are asked for.
    budget_s : float
        Seconds of computing, > 0.
    workers : int
        Threads, >= 0; 0 for as many as there are cores. With 1, equal seeds give equal outcomes unless time runs out.
    seed : int
        In 0 .. 2**31 - 1.
    gap_frac : float
        It stops when objective and bound are this close, relative to the objective, >= 0.
    assumptions : sequence of literals
        Supposed to be true; an infeasible outcome names those that contradict each other.
    settings : mapping of str to value
        More parameters of the solver, by its own names.
    on_solution : callable of (objective, bound)
        Called at each better solution.
    on_bound : callable of (bound)
        Called at each better bound.

    Raises
    ------
    ConfigError
        When the model itself is not sound.
    MissingExtra
        When OR-Tools is not installed.
    """
    solver = ortools().CpSolver()
    parameters = solver.parameters
    parameters.max_time_in_seconds = budget_s
    parameters.num_workers = workers
    parameters.random_seed = seed
    parameters.relative_gap_limit = gap_frac
    for name, value in (settings or {}).items():
        if isinstance(value, list):
            getattr(parameters, name).extend(value)
        else:
            setattr(parameters, name, value)
    if assumptions:
        model.clear_assumptions()
        model.add_assumptions(list(assumptions))
    heard = _Listening(solver, on_solution, on_bound)
    solver.best_bound_callback = heard.bound if on_bound else None
    status = solver.solve(model, heard.watcher())
    heard.raise_again()
    return _outcome(solver, status, model, wanted, assumptions)


class _Listening:
    """Carries callbacks into the solver's threads, and what they raise back out."""

    def __init__(
        self, solver: Any, on_solution: Callable[[float, float], None] | None, on_bound: Callable[[float], None] | None
    ) -> None:
        self._solver = solver
        self._on_solution = on_solution
        self._on_bound = on_bound
        self._raised: BaseException | None = None

    def bound(self, bound: float) -> None:
        self._quietly(self._on_bound, bound)

    def watcher(self) -> Any:
        if self._on_solution is None:
            return None
        outer = self

        class Watcher(ortools().CpSolverSolutionCallback):  # type: ignore[misc]
            def on_solution_callback(self) -> None:
                outer._quietly(outer._on_solution, self.objective_value, self.best_objective_bound)

        return Watcher()

    def _quietly(self, call: Callable[..., None] | None, *values: float) -> None:
        """Call, and keep what it raises: an exception may not cross the solver's own frames."""
        if call is None or self._raised is not None:
            return
        try:
            call(*values)
        except BaseException as error:
            self._raised = error
            self._solver.stop_search()

    def raise_again(self) -> None:
        if self._raised is not None:
            raise self._raised


def _outcome(solver: Any, status: Any, model: Any, wanted: Sequence[Any], assumptions: Sequence[Any]) -> Outcome:
    name = solver.status_name(status)
    if name == "MODEL_INVALID":
        raise ConfigError(f"constraint program: the model must be sound, got: {model.validate()}")
    has_one, is_rated = name in ("OPTIMAL", "FEASIBLE"), model.has_objective()
    return Outcome(
        status=name.lower(),
        values=tuple(solver.value(one) for one in wanted) if has_one else (),
        objective=solver.objective_value if has_one and is_rated else None,
        bound=solver.best_objective_bound if is_rated and name != "INFEASIBLE" else None,
        conflict=_conflict(solver, assumptions) if name == "INFEASIBLE" else (),
        took_s=solver.wall_time,
    )


def _conflict(solver: Any, assumptions: Sequence[Any]) -> tuple[int, ...]:
    place = {literal.index: number for number, literal in enumerate(assumptions)}
    return tuple(sorted({place[index] for index in solver.sufficient_assumptions_for_infeasibility()}))
