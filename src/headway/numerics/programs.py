"""Mixed-integer programs, written down term by term and solved by HiGHS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headway.core.errors import PlanError, missing_extra


class Program:
    """Minimise a sum of variables, each >= 0, under constraints that are sums, too.

    Parameters
    ----------
    gap_frac : float
        It is solved when its answer is proved to be within this share of the best, >= 0.
    max_nodes : int
        Or when so many parts of the space were looked at, >= 1. No clock: every machine finds the same answer.
    """

    def __init__(self, *, gap_frac: float = 0.0, max_nodes: int = 1_000_000) -> None:
        self.gap_frac = gap_frac
        self.max_nodes = max_nodes
        self._costs: list[float] = []
        self._whole: list[bool] = []
        self._most: list[float] = []
        self._rows: list[dict[int, float]] = []
        self._lows: list[float] = []

    def variable(self, cost: float = 0.0, *, binary: bool = False) -> int:
        """Add a variable, 0 or 1 when it is binary; returns its number."""
        self._costs.append(cost)
        self._whole.append(binary)
        self._most.append(1.0 if binary else np.inf)
        return len(self._costs) - 1

    def at_least(self, low: float, *terms: tuple[int, float]) -> None:
        """Demand that a sum of (variable, factor) is at least `low`."""
        row: dict[int, float] = {}
        for index, factor in terms:
            row[index] = row.get(index, 0.0) + factor
        self._rows.append(row)
        self._lows.append(low)

    def solve(self) -> npt.NDArray[np.float64]:
        """Return the values of all variables.

        Raises
        ------
        MissingExtra
            When the solver is not installed.
        PlanError
            When there is no answer, or none was found.
        """
        try:
            from scipy.optimize import Bounds, LinearConstraint, milp
            from scipy.sparse import coo_array
        except ImportError as error:
            raise missing_extra("scipy", "plan", "to solve mixed-integer programs") from error
        entries = [(row, index, factor) for row, terms in enumerate(self._rows) for index, factor in terms.items()]
        rows, columns, factors = zip(*entries, strict=True)
        matrix = coo_array((factors, (rows, columns)), shape=(len(self._rows), len(self._costs))).tocsr()
        found = milp(
            self._costs,
            integrality=self._whole,
            bounds=Bounds(0.0, self._most),
            constraints=LinearConstraint(matrix, np.array(self._lows)),
            options={"node_limit": self.max_nodes, "mip_rel_gap": self.gap_frac},
        )
        if found.x is None:
            raise PlanError(f"program: must have an answer, got: {found.message} Loosen it, or raise max_nodes.")
        return np.asarray(found.x)
