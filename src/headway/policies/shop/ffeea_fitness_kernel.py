"""Compiled similarity of permutations."""

# numba has no types
# mypy: allow-untyped-decorators, no-warn-return-any

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.numerics.jit import njit


@njit(cache=True, fastmath={"reassoc", "nsz"})
def weighted_agreement(
    rows: NDArray[np.int32], known: NDArray[np.int32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return by row and known one the weight of the places at which they are equal, ``[rows, known]``."""
    found = np.zeros((len(rows), len(known)), np.float32)
    nothing = np.float32(0.0)
    for i in range(len(rows)):
        for j in range(len(known)):
            total = nothing
            for k in range(rows.shape[1]):
                total += weights[k] if rows[i, k] == known[j, k] else nothing
            found[i, j] = total
    return found
