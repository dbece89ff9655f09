"""Every row of the catalogue passes every contract check, and every mechanism has its row, its file and its test."""

from __future__ import annotations

from pathlib import Path

import pytest

from headway.core import catalogue, checks

ROOT = Path(__file__).parents[2]
ROWS = catalogue.rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_row_keeps_the_contract(row: catalogue.Row, check: object) -> None:
    assert callable(check)
    try:
        check(checks.Subject(row))
    except checks.NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_has_its_file_and_its_test(row: catalogue.Row) -> None:
    family, _, name = row.id.partition("/")
    name = name.replace("-", "_")
    assert row.cls.startswith(f"headway.policies.{family}.{name}:")
    assert (ROOT / "tests" / "policies" / family / f"test_{name}.py").is_file()


def test_ids_are_unique() -> None:
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    assert {"serving/orca", "serving/vllm", "serving/sarathi"} <= set(ids)


def test_every_file_that_defines_a_seat_or_policy_for_users_has_a_row() -> None:
    """A mechanism's file says where it comes from; nothing else in the folder does so in a class docstring."""
    sources = {row.cls.partition(":")[0] for row in ROWS}
    for path in (ROOT / "src" / "headway" / "policies").glob("*/*.py"):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        if "Faithful to the paper" in path.read_text(encoding="utf-8"):
            assert module in sources, f"{path.name} has no row in its catalogue.toml"
