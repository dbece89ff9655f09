"""Lists in OpenAI's shape: which part is asked for, and how it is answered."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import QueryParams

from headway.app.server.errors import invalid
from headway.app.tuning.tables import Page

ORDERS = {"asc": True, "desc": False}


def page_of(query: QueryParams, *, default: int, most: int) -> Page:
    """Read `limit`, `after` and `order`.

    Parameters
    ----------
    query : QueryParams
        Of the request.
    default, most : int
        The limit where none is given, and the largest.

    Raises
    ------
    ApiError
        400 that names the parameter at fault.
    """
    limit = query.get("limit", str(default))
    if not (limit.isascii() and limit.isdigit() and len(limit) < 9 and 1 <= int(limit) <= most):
        raise invalid(f"`limit` must be a number from 1 to {most}, got '{limit[:99]}'.", "limit")
    order = query.get("order", "desc")
    if order not in ORDERS:
        raise invalid(f"`order` must be 'asc' or 'desc', got '{order[:99]}'.", "order")
    return Page(limit=int(limit), after=query.get("after", ""), ascending=ORDERS[order])


def answer_of(objects: Sequence[dict[str, object]], has_more: bool) -> dict[str, object]:
    """A part of a list."""
    ends = {"first_id": objects[0]["id"], "last_id": objects[-1]["id"]} if objects else {}
    return {"object": "list", "data": objects, "has_more": has_more, **ends}
