"""The cheapest set of containers that holds given items, where an item takes up a share of whichever it is put into."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def cheapest_cover(shares: Floats, costs: Floats, *, budget_s: Seconds = 5.0) -> tuple[Ints, Ints]:
    """Put every item into containers of one kind, so that the containers cost least; by integer programming.

    It is the program of Melange (Griggs et al., "Melange: Cost Efficient Large Language Model Serving by Exploiting GPU
    Heterogeneity", 2024, arXiv 2404.14527): minimise ``costs @ counts``, where each item is of exactly one kind, and
    the shares of those of a kind are at most its count.

    Parameters
    ----------
    shares : array of float, `[items, kinds]`
        How much of a container of each kind an item takes up, >= 0; infinite where it cannot be put.
    costs : array of float, `[kinds]`
        Of one container, >= 0.
    budget_s : float
        How long to look, > 0; the best found by then is returned.

    Returns
    -------
    (array of int `[kinds]`, array of int `[items]`)
        How many containers of each kind, and the kind of each item.

    Raises
    ------
    ConfigError
        When an item fits nowhere, or scipy is missing.

    Examples
    --------
    >>> counts, kinds = cheapest_cover(np.array([[0.5, 0.1], [0.4, np.inf], [9.0, 0.8]]), np.array([1.0, 1.5]))
    >>> counts.tolist(), kinds.tolist()
    ([1, 1], [0, 0, 1])
    """
    try:
        from scipy import optimize, sparse
    except ImportError as error:
        raise ConfigError("cheapest_cover: scipy must be installed. Try pip install 'headway[plan]'.") from error
    num_items, num_kinds = shares.shape
    fits = np.isfinite(shares)
    if not fits.any(axis=1).all():
        item = int(np.argmin(fits.any(axis=1)))
        raise ConfigError(f"cheapest_cover: every item must fit somewhere, item {item} does not. Allow another kind.")
    num_choices = num_items * num_kinds
    of_items = sparse.kron(sparse.eye(num_items), np.ones((1, num_kinds)))
    one_each = sparse.hstack([of_items, sparse.csr_matrix((num_items, num_kinds))])
    taken = sparse.csr_matrix(
        (np.where(fits, shares, 0.0).ravel(), (np.arange(num_choices) % num_kinds, np.arange(num_choices))),
        shape=(num_kinds, num_choices),
    )
    room = sparse.hstack([taken, -sparse.eye(num_kinds)])
    bounds = optimize.Bounds(0, np.concatenate([fits.ravel().astype(float), np.full(num_kinds, np.inf)]))
    found = optimize.milp(
        np.concatenate([np.zeros(num_choices), costs]),
        constraints=[optimize.LinearConstraint(one_each, 1, 1), optimize.LinearConstraint(room, -np.inf, 0)],
        bounds=bounds,
        integrality=np.ones(num_choices + num_kinds),
        options={"time_limit": budget_s, "mip_rel_gap": 1e-4},
    )
    if found.x is None:
        raise ConfigError(f"cheapest_cover: no answer within {budget_s:g} s. Give it longer, or fewer items.")
    chosen = np.round(found.x[:num_choices]).reshape(num_items, num_kinds)
    return np.round(found.x[num_choices:]).astype(np.int64), chosen.argmax(axis=1).astype(np.int64)
