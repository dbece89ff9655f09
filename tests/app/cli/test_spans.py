"""Spans of time as people write them."""

from __future__ import annotations

import pytest

from headway.app.cli.spans import seconds
from headway.core.errors import ConfigError


@pytest.mark.parametrize(
    ("said", "value"),
    [("30", 30.0), ("30s", 30.0), ("500ms", 0.5), ("1.5 min", 90.0), ("2m", 120.0), ("1h", 3600.0), ("1e2s", 100.0)],
)
def test_times_are_read(said: str, value: float) -> None:
    assert seconds(said, "--time-limit") == value


@pytest.mark.parametrize("said", ["", "0", "-3s", "soon", "3 days", "1..5s", "nan", "inf", "1e999s"])
def test_what_is_no_time_is_refused(said: str) -> None:
    with pytest.raises(ConfigError, match="--time-limit: must be a time above zero"):
        seconds(said, "--time-limit")
