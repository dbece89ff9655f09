from __future__ import annotations

import math
import re

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.plots.tables import Amount, Column, Table, html_of, metrics_table


def test_amounts_carry_their_unit_and_interval() -> None:
    assert str(Amount.of("p99_ttft_s", 0.0123)) == "12.3 ms"
    assert str(Amount(1.5, "s", 1.25, 1.75)) == "1.50 [1.25, 1.75] s"
    # The interval is in the unit of the value, even where another one would suit it better.
    assert str(Amount(0.3, "s", 0.2, 1.1)) == "300 [200, 1,100] ms"
    assert str(Amount(math.nan, "s", 0.0, 1.0)) == "–"


def test_columns_of_numbers_lean_right_and_texts_left() -> None:
    table = Table(["policy", "n", Column("share", "left")], [["a", 1, 0.5], ["b", None, 0.25]])
    assert table.aligns == ("left", "right", "left")
    assert table.texts() == [["a", "1", "0.500"], ["b", "–", "0.250"]]


def test_a_row_of_the_wrong_length_is_an_error() -> None:
    with pytest.raises(ConfigError, match="row 1 must have 2 cells, one per column, got 1"):
        Table(["a", "b"], [[1, 2], [3]])


def test_a_table_of_metrics_has_a_dash_where_a_run_has_no_number() -> None:
    table = metrics_table(
        {"a": {"p50_ttft_s": 0.5, "num_requests": 7.0}, "b": {"p50_ttft_s": 2.0}}, ["p50_ttft_s", "num_requests"]
    )
    assert table.titles == ("", "a", "b")
    assert table.texts() == [["p50 TTFT", "500 ms", "2.00 s"], ["requests", "7", "–"]]


def test_numbers_of_numpy_are_numbers() -> None:
    table = Table(["a", "b", "c"], [[np.float64(0.5), Amount(np.float64(0.25), "s"), np.int64(1234)]])
    assert table.texts() == [["0.500", "250 ms", "1,234"]]
    assert re.findall('data-value="(.*?)"', html_of(table)) == ["0.5", "0.25", "1234.0"]


def test_a_table_without_titles_has_no_header() -> None:
    assert "<thead>" not in html_of(Table(["", ""], [["a", 1]]))
    assert "<thead>" in html_of(Table(["", "x"], [["a", 1]]))


def test_html_is_escaped_and_knows_the_bare_numbers() -> None:
    html = html_of(Table(["<name>"], [["<b>x</b>"], [Amount(0.5, "s")], [math.nan]], caption="a & b"))
    assert "<b>" not in html
    assert "&lt;name&gt;" in html
    assert "a &amp; b" in html
    assert '<td class="left" data-value="0.5">500 ms</td>' in html
    assert html.count("data-value") == 1
