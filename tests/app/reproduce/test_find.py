"""Claims, levels and golden tests belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.app.reproduce.claim import Claim, Of, Quantity, Ratio
from headway.app.reproduce.find import claims_of, rows_with_claims
from headway.core import catalogue

GOLDEN = Path(__file__).parents[2] / "golden"
ALL = [pytest.param(claim, id=f"{row.id} {claim.id}") for row in rows_with_claims() for claim in claims_of(row.id)]


def test_what_is_reproduced_has_claims_and_a_golden_test() -> None:
    for row in catalogue.rows():
        if row.level == "reproduced":
            name = row.id.partition("/")[2].replace("-", "_")
            assert row.claims, f"{row.id} has no claims"
            assert (GOLDEN / f"test_{name}_claims.py").is_file(), f"{row.id} has no golden test"


def test_claims_of_a_mechanism_have_different_ids() -> None:
    for row in rows_with_claims():
        ids = [claim.id for claim in claims_of(row.id)]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("claim", ALL)
def test_a_claim_speaks_of_its_contestants_alone(claim: Claim) -> None:
    quantities = [q for below in claim.directions for q in (below.less, below.more)]
    named = {name for quantity in [*quantities, *(size.quantity for size in claim.sizes)] for name in names(quantity)}
    assert claim.ours in claim.contestants
    assert named | {name for name, _ in claim.claimed} <= set(claim.contestants)
    assert claim.directions or claim.sizes  # where nothing is to be lost there is no direction


def names(quantity: Quantity) -> set[str]:
    if isinstance(quantity, Ratio):
        return names(quantity.above) | names(quantity.below)
    assert isinstance(quantity, Of)
    return {quantity.who}
