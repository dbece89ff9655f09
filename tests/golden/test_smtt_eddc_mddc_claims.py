"""What rules for one machine are worth: published directions that hold here, and one that does not."""

from __future__ import annotations

import functools

import pytest

from headway.app.reproduce.find import chosen
from headway.app.reproduce.judge import Verdict, judge

ID = "shop/smtt-eddc-mddc"


@functools.cache
def verdict(name: str, seeds: int = 2, quick: bool = False) -> Verdict:
    (claim,) = chosen(ID, (name,))
    return judge(claim, [claim.measure(seed, quick) for seed in range(seeds)])


def gap(of: Verdict, rule: str, metric: str = "mean_gap_frac") -> float:
    return of.measured[rule][metric].mean


@pytest.mark.parametrize("name", ["normal-20", "classes", "discovery"])
def test_directions_hold(name: str) -> None:
    assert [one.name for one in verdict(name).directions if not one.holds] == []


def test_gaps_are_as_published() -> None:
    """Published: EDD 31.9%, EDDC 11.3%, MDD 2.51%, MDDC 1.71%."""
    found = verdict("normal-20")
    assert [one.name for one in found.sizes if not one.agrees] == []
    assert 0.09 < gap(found, "eddc") < 0.135
    assert 0.013 < gap(found, "mddc") < 0.018


def test_eddc_as_printed_is_edd() -> None:
    for name in ("normal-20", "uniform-20"):
        assert gap(verdict(name), "eddc-printed") == gap(verdict(name), "edd")


def test_in_percent_mddc_is_not_ahead_of_mdd_among_uniform_jobs_but_in_sum_it_is() -> None:
    """Published: MDD 1.86%, MDDC 1.70%. Here instances with tiny optima decide, and over seeds they do for MDD."""
    found = verdict("uniform-20", seeds=5)
    assert gap(found, "mdd") < gap(found, "mddc") < 0.03
    assert gap(found, "mddc", "sum_gap_frac") < 0.75 * gap(found, "mdd", "sum_gap_frac")


def test_mddc_halves_the_gap_where_due_dates_are_close() -> None:
    """Published: 2.54% against 6.00%, and 0.47% against 2.93%."""
    found = verdict("classes")
    for metric in ("class_6_2_gap_frac", "class_8_2_gap_frac"):
        assert gap(found, "mddc", metric) < 0.65 * gap(found, "mdd", metric)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uniform-100", "uniform-200"])
def test_it_stays_ahead_with_more_jobs(name: str) -> None:
    found = verdict(name, seeds=5)
    sums = [gap(found, rule, "sum_gap_frac") for rule in ("mddc", "mdd", "eddc", "edd")]
    assert sums == sorted(sums)
    assert gap(found, "mddc") < 0.03  # published: 1.52% and 2.00%; that of MDD is as large
    assert gap(found, "eddc") < gap(found, "edd")


def test_the_unit_changes_orders_unless_it_is_normalised() -> None:
    found = verdict("units", seeds=1, quick=True)
    assert gap(found, "normalised", "other_order_frac") == 0.0
    assert gap(found, "thousandths", "other_order_frac") > 0.0
