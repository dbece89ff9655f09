"""Every row of the catalogue passes every contract check."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headway.core import catalogue, checks


@pytest.mark.parametrize("row", catalogue.rows(), ids=lambda row: row.id)
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_row_keeps_the_contract(row: catalogue.Row, check: Callable[[checks.Subject], None]) -> None:
    try:
        check(checks.Subject(row))
    except checks.NotApplicable as reason:
        pytest.skip(str(reason))
