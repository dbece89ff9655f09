from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.plots.quantities import label_of, number, quantity, unit_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "0.0123"),
        (9.996, "10.0"),
        (999.7, "1,000"),
        (12345.6, "12,346"),
        (-0.5, "−0.500"),
        (0.0, "0"),
        (0.00001234, "1.23e−05"),
        (1234567, "1,234,567"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_numbers_show_three_digits_that_matter(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (0.9996, "s", "1.00 s"),
        (0.99, "s", "990 ms"),
        (2e-6, "s", "2.00 µs"),
        (0.0, "s", "0 s"),
        (-0.25, "s", "−250 ms"),
        (0.985, "%", "98.5 %"),
        (3 * 2**30, "bytes", "3.00 GiB"),
        (1500.0, "J", "1.50 kJ"),
        (12.25, "/s", "12.2/s"),
        (7, "", "7"),
        (0.42, "USD", "0.420 USD"),
        (math.nan, "s", "–"),
        (math.inf, "s", "∞ s"),
    ],
)
def test_quantities_come_in_a_fitting_unit(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text


@pytest.mark.parametrize(
    ("name", "label", "unit"),
    [
        ("p99_ttft_s", "p99 TTFT", "s"),
        ("output_tokens_per_s", "output tokens", "/s"),
        ("cost_usd_per_mtok", "cost per output Mtok", "USD/Mtok"),
        ("energy_j_per_output_token", "energy per output token", "J/token"),
        ("kv_used_frac", "KV used", "%"),
        ("num_preemptions", "preemptions", ""),
        ("watts", "power", "W"),
        ("length", "length", ""),
    ],
)
def test_a_metric_s_name_says_its_label_and_unit(name: str, label: str, unit: str) -> None:
    assert (label_of(name), unit_of(name)) == (label, unit)


@given(st.floats(1e-9, 1e9))
def test_what_is_written_is_the_value_to_three_digits(value: float) -> None:
    text, unit = quantity(value, "s").replace(",", "").replace("−", "-").split(" ")
    read = float(text) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}[unit]
    assert read == pytest.approx(value, rel=0.0051)
