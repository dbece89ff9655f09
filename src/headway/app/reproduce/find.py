"""Find the claims of mechanisms through the catalogue."""

from __future__ import annotations

from headway.app.reproduce.claim import Claim
from headway.core import catalogue
from headway.core.catalogue import Row
from headway.core.errors import ConfigError, unknown_name


def rows_with_claims() -> list[Row]:
    """Return the rows of the catalogue whose claims are written down."""
    return [row for row in catalogue.rows() if row.claims]


def claims_of(id: str) -> tuple[Claim, ...]:
    """Return the claims of a mechanism, the headline first.

    Raises
    ------
    UnknownName
        When no row has this id.
    ConfigError
        When its claims are not written down, or are not claims.
    """
    row = catalogue.find(id)
    if not row.claims:
        known = ", ".join(one.id for one in rows_with_claims()) or "none yet"
        raise ConfigError(f"reproduce: {id} must have claims written down, got none. There are: {known}.")
    found = tuple(catalogue.resolve(row.claims))
    if not found or not all(isinstance(claim, Claim) for claim in found):
        raise ConfigError(f"catalogue: claims of {id} must name a sequence of claims, got {found!r}. Mend its row.")
    return found


def chosen(id: str, names: tuple[str, ...] = ()) -> tuple[Claim, ...]:
    """Return the claims of a mechanism that have these ids, in their own order; all when there are no names.

    Raises
    ------
    UnknownName
        When it has no claim of a name.
    """
    found = claims_of(id)
    known = [claim.id for claim in found]
    for name in names:
        if name not in known:
            raise unknown_name(f"claim of {id}", name, known, "headway reproduce --json")
    return tuple(claim for claim in found if not names or claim.id in names)
