"""Linear programs with few variables and rows that come one by one: a front end of HiGHS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from headway.core.errors import ConfigError, missing_extra

Floats = npt.NDArray[np.float64]
Row = tuple[npt.NDArray[np.int64], Floats, float]
"""Columns, coefficients and the largest sum: ``coefficients @ x[columns] <= bound``."""


class LinearProgram:
    """The largest value of a linear sum under linear bounds.

    Parameters
    ----------
    gains : array of float, `[variables]`
        What each variable adds to the sum.
    largest : array of float, `[variables]`
        The most that each may be, >= 0; none is below 0.
    whole : bool
        Whether all variables are whole numbers; False.
    """

    def __init__(self, gains: Floats, largest: Floats, *, whole: bool = False) -> None:
        self.gains = gains
        self.largest = largest
        self.whole = whole
        self._rows: list[Row] = []
        self._equal: list[Row] = []

    @property
    def num_rows(self) -> int:
        """How many bounds there are."""
        return len(self._rows) + len(self._equal)

    def bound(
        self, columns: Sequence[int] | npt.NDArray[np.int64], factors: Sequence[float] | Floats, most: float
    ) -> None:
        """Add that a weighted sum of some variables, each named once, is at most `most`."""
        self._rows.append((np.asarray(columns, np.int64), np.asarray(factors, np.float64), most))

    def fix(self, columns: Sequence[int] | npt.NDArray[np.int64], factors: Sequence[float] | Floats, at: float) -> None:
        """Add that a weighted sum of some variables is just `at`."""
        self._equal.append((np.asarray(columns, np.int64), np.asarray(factors, np.float64), at))

    def solve(self, *, limit_s: float = math.inf) -> tuple[float, Floats]:
        """Return the largest sum, or a bound on it when time runs out, and where it is attained.

        Parameters
        ----------
        limit_s : float
            After so many seconds the search for whole numbers stops, > 0.

        Raises
        ------
        ConfigError
            When nothing satisfies all bounds.
        MissingExtra
            When scipy is not installed.
        """
        if not len(self.gains):
            return 0.0, np.empty(0)
        options = {} if math.isinf(limit_s) else {"time_limit": limit_s}
        found = _optimize().milp(
            -self.gains,
            integrality=np.ones(len(self.gains)) if self.whole else None,
            bounds=_optimize().Bounds(0.0, self.largest),
            constraints=self._constraints(),
            options=options,
        )
        if found.x is None and found.status != 1:
            raise ConfigError(f"linear program: some point must satisfy all bounds, got none: {found.message}")
        dual = getattr(found, "mip_dual_bound", None)
        most = found.fun if dual is None or not self.whole else dual
        point = np.minimum(self.largest, 1.0) if found.x is None else found.x
        return -float(most), np.asarray(point, np.float64)

    def _constraints(self) -> list[Any]:
        made = []
        for rows, is_equal in ((self._rows, False), (self._equal, True)):
            if rows:
                most = np.array([bound for _, _, bound in rows])
                made.append(_optimize().LinearConstraint(self._matrix(rows), most if is_equal else -np.inf, most))
        return made

    def _matrix(self, rows: list[Row]) -> Any:
        sparse = import_module("scipy.sparse")
        lengths = [len(columns) for columns, _, _ in rows]
        places = np.repeat(np.arange(len(rows)), lengths)
        columns = np.concatenate([columns for columns, _, _ in rows])
        factors = np.concatenate([factors for _, factors, _ in rows])
        return sparse.csr_array((factors, (places, columns)), shape=(len(rows), len(self.gains)))


def _optimize() -> Any:
    try:
        return import_module("scipy.optimize")
    except ImportError as error:
        raise missing_extra("scipy", "plan", "to solve linear programs") from error
